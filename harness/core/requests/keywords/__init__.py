"""Keywords of the Python API for type checkers and editors.

Written by ``scripts/write_keywords.py`` from the requests, which define every setting; never
imported when a program runs.
"""

from harness.core.requests.keywords.data import ConvertSettings as ConvertSettings
from harness.core.requests.keywords.inference import BenchmarkSettings as BenchmarkSettings
from harness.core.requests.keywords.inference import DiagnoseSettings as DiagnoseSettings
from harness.core.requests.keywords.inference import EvaluateSettings as EvaluateSettings
from harness.core.requests.keywords.inference import EvaluateShareSettings as EvaluateShareSettings
from harness.core.requests.keywords.inference import ScoreSettings as ScoreSettings
from harness.core.requests.keywords.inference import SweepSettings as SweepSettings
from harness.core.requests.keywords.loading import DrawSettings as DrawSettings
from harness.core.requests.keywords.loading import LoadDatasetSettings as LoadDatasetSettings
from harness.core.requests.keywords.loading import LoadModelSettings as LoadModelSettings
from harness.core.requests.keywords.pictures import CompareSettings as CompareSettings
from harness.core.requests.keywords.pictures import PredictSettings as PredictSettings
from harness.core.requests.keywords.pictures import ShowSettings as ShowSettings
from harness.core.requests.keywords.reports import AnalyzeSettings as AnalyzeSettings
from harness.core.requests.keywords.reports import WriteReportSettings as WriteReportSettings
from harness.core.requests.keywords.training import TrainSettings as TrainSettings
from harness.core.requests.keywords.zoo import CheckParitySettings as CheckParitySettings
from harness.core.requests.keywords.zoo import CheckWeightsSettings as CheckWeightsSettings
from harness.core.requests.keywords.zoo import DownloadSettings as DownloadSettings
from harness.core.requests.keywords.zoo import ExportModelSettings as ExportModelSettings
