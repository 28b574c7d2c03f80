"""The names of the files and folders that a run leaves in its folder."""

from __future__ import annotations

#: What the run is: written before anything is computed.
RUN = "run.json"

#: What an evaluation, a benchmark or a training found: written last.
RECORD = "record.json"

#: The record of a night.
NIGHT = "night.json"

#: The record of a sweep.
SWEEP = "sweep.json"

#: The record of predictions on images without annotations.
PREDICT = "predict.json"

LOG = "log.txt"
PREDICTIONS = "predictions.json"
PER_CATEGORY = "per_category.csv"

#: A folder: the predictions of each image, in one file a worker.
SHARDS = "shards"

#: The identity of a run, beside its shards: it distinguishes a damaged or foreign shard from the
#: shard of a run with other settings.
IDENTITY = "identity.json"

#: What a training did otherwise than asked, until its record says so.
NOTES = "notes.json"

#: A folder: what a training continues from.
CHECKPOINTS = "checkpoints"

#: Names the last checkpoint of a training by Detectron2, which are beside it.
LAST_OF_DETECTRON2 = "last_checkpoint"

#: A folder: the evaluations of a training, each with the files of a run.
EVALUATIONS = "evaluations"

#: A folder: the cells of a sweep.
CELLS = "cells"

#: The page of an evaluation.
RUN_PAGE = "report.html"

#: The page of a night, a sweep, drawings or predictions. A night writes it last.
PAGE = "index.html"
