"""The plugin: which families it brings. Imports no torch; references are resolved when a model is built."""

from __future__ import annotations

from zoo.family import Family
from zoo.plugins import hookimpl

zoo_api = (1, 1)

GMM = Family(
    name="gmm",
    modality="table",
    config="zoo_classic.gmm_config:GMMConfig",
    build="zoo_classic.gmm:build",
    controls="zoo.modality.table:TableControls",
    plan="zoo.training.plan:FitPlan",
    describe="zoo_classic.describe_gmm:describe",
)
HMM = Family(
    name="hmm",
    modality="sequence",
    config="zoo_classic.hmm_config:HMMConfig",
    build="zoo_classic.hmm:build",
    controls="zoo.modality.sequence:SequenceControls",
    plan="zoo.training.plan:FitPlan",
    describe="zoo_classic.describe_hmm:describe",
)


@hookimpl
def zoo_families() -> list[Family]:
    return [GMM, HMM]
