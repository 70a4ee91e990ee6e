# SPDX-License-Identifier: Apache-2.0
"""Structured pruning: methods (one per file), masks, physical compaction and the schedule around them."""

from picobnn.trainer.pruning.binary_l2 import Binarization, BinaryL2, Form, MarginPull, count_is_met
from picobnn.trainer.pruning.bottom_up import Phase
from picobnn.trainer.pruning.compaction import compact
from picobnn.trainer.pruning.differential_evolution import EvolutionForm, EvolutionSettings
from picobnn.trainer.pruning.distillation import Distillation, Distilled
from picobnn.trainer.pruning.edropout import EDropout
from picobnn.trainer.pruning.filter_scale import FilterScale
from picobnn.trainer.pruning.gate_loss import GateLoss, Regularizer, Statistics
from picobnn.trainer.pruning.gates import Gates
from picobnn.trainer.pruning.general_domain import GeneralDomain, Ones
from picobnn.trainer.pruning.ising import IsingPruning
from picobnn.trainer.pruning.ising_energy import Redundancy
from picobnn.trainer.pruning.loss_sensitivity import LossSensitivity
from picobnn.trainer.pruning.margins import SignFlips, measure_margins
from picobnn.trainer.pruning.masks import set_masks
from picobnn.trainer.pruning.method import PruningMethod, RankingMethod, check_together
from picobnn.trainer.pruning.msf import MsfCascade, MsfLayerwise, Rule
from picobnn.trainer.pruning.quota import Quota, Scope, choose_kept, make_quota
from picobnn.trainer.pruning.random_filters import RandomFilters
from picobnn.trainer.pruning.random_state import RandomState
from picobnn.trainer.pruning.report import LayerMargins, LayerOnes, PrunedLayer, PruningReport
from picobnn.trainer.pruning.retrain import retrain_with
from picobnn.trainer.pruning.schedule import PruningSettings, Retrain, apply, prune
from picobnn.trainer.pruning.state_pruning import SearchResult, SearchSettings
from picobnn.trainer.pruning.statistics import reestimate_norms
from picobnn.trainer.pruning.structure import FilterGroup, count_macs, find_filters
from picobnn.trainer.pruning.training import Batches, Training, training_batches, training_on

__all__ = [
    "Batches", "Binarization", "BinaryL2", "Distillation", "Distilled", "EDropout", "EvolutionForm",
    "EvolutionSettings", "FilterGroup", "FilterScale", "Form", "GateLoss", "Gates", "GeneralDomain", "IsingPruning",
    "LayerMargins", "LayerOnes", "LossSensitivity", "MarginPull", "MsfCascade", "MsfLayerwise", "Ones", "Phase",
    "PrunedLayer", "PruningMethod", "PruningReport", "PruningSettings", "Quota", "RandomFilters", "RandomState",
    "RankingMethod", "Redundancy", "Regularizer", "Retrain", "Rule", "Scope", "SearchResult", "SearchSettings",
    "SignFlips", "Statistics", "Training", "apply", "check_together", "choose_kept", "compact", "count_is_met",
    "count_macs", "find_filters", "make_quota", "measure_margins", "prune", "reestimate_norms", "retrain_with",
    "set_masks", "training_batches", "training_on",
]  # fmt: skip
