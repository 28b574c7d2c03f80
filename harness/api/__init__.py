"""The Python API: what the command line does, as functions; `harness` exports them.

Settings are keywords with the names, checks and defaults of the command line; each is defined once,
as a field of a request (`harness.core.requests`). What is positional on the command line may be
positional here.
"""

from harness.api.measuring import analyze as analyze
from harness.api.measuring import benchmark as benchmark
from harness.api.measuring import diagnose as diagnose
from harness.api.measuring import evaluate as evaluate
from harness.api.measuring import evaluate_share as evaluate_share
from harness.api.measuring import score as score
from harness.api.measuring import sweep as sweep
from harness.api.measuring import track_run as track_run
from harness.api.measuring import write_report as write_report
from harness.api.models import check_parity as check_parity
from harness.api.models import check_weights as check_weights
from harness.api.models import convert as convert
from harness.api.models import download as download
from harness.api.models import export_model as export_model
from harness.api.models import list_models as list_models
from harness.api.models import load_dataset as load_dataset
from harness.api.models import load_model as load_model
from harness.api.pictures import compare as compare
from harness.api.pictures import compare_several as compare_several
from harness.api.pictures import draw as draw
from harness.api.pictures import predict as predict
from harness.api.pictures import show as show
from harness.api.training import follow_training as follow_training
from harness.api.training import plan_training as plan_training
from harness.api.training import train as train
