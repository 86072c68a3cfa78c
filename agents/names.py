"""The names that the command line lists, importable without torch: algorithms with their recipes, and bonuses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

ON_POLICY_COPIES = 8


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One learning algorithm, and the settings that a run starts from."""

    module: str
    """Where the class lives."""
    cls: str
    """The name of the class in `module`."""
    summary: str
    """One line for a list."""
    on_policy: bool
    """Whether it learns from whole rollouts (and then throws them away)."""
    actions: tuple[str, ...]
    """The kinds of action space that it serves, by the names of Gymnasium's classes."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Constructor arguments that differ from the defaults of the class."""
    recurrent: bool = False
    """Whether its policies carry a memory, and so have names of their own."""
    dyna: Mapping[str, Any] | None = None
    """Settings of the world model that it learns from (`agents.dyna`); none where it learns from the world alone."""

    @property
    def imitates(self) -> bool:
        """Whether it can repeat its best episodes (`agents.SelfImitation`)."""
        return self.on_policy and not self.recurrent

    @property
    def environments(self) -> int:
        """How many copies of the task it steps unless told otherwise."""
        return ON_POLICY_COPIES if self.on_policy else 1


ANY_ACTION = ("Box", "Discrete", "MultiDiscrete", "MultiBinary")

ALGORITHMS: Mapping[str, Recipe] = MappingProxyType(
    {
        "ppo": Recipe(
            module="stable_baselines3",
            cls="PPO",
            summary="proximal policy optimisation (Schulman et al. 2017)",
            on_policy=True,
            actions=ANY_ACTION,
            settings={"n_steps": 256, "batch_size": 512},  # 2048 steps a rollout; large batches halve the time
        ),
        "ppo-gsde": Recipe(
            module="stable_baselines3",
            cls="PPO",
            summary="ppo with noise that depends on the state (Raffin et al. 2021), a control that needs no bonus",
            on_policy=True,
            actions=("Box",),
            settings={"n_steps": 256, "batch_size": 512, "use_sde": True, "sde_sample_freq": 16},
        ),
        "ppo-entropy": Recipe(
            module="stable_baselines3",
            cls="PPO",
            summary="ppo paid for the entropy of its actions, a control that needs no bonus",
            on_policy=True,
            actions=ANY_ACTION,
            settings={"n_steps": 256, "batch_size": 512, "ent_coef": 0.01},
        ),
        "a2c": Recipe(
            module="stable_baselines3",
            cls="A2C",
            summary="advantage actor-critic (Mnih et al. 2016)",
            on_policy=True,
            actions=ANY_ACTION,
            settings={"n_steps": 16},  # 128 steps a rollout: with 5 each, most of the time is bookkeeping
        ),
        "trpo": Recipe(
            module="sb3_contrib",
            cls="TRPO",
            summary="trust region policy optimisation (Schulman et al. 2015), the learner of the VIME paper",
            on_policy=True,
            actions=ANY_ACTION,
            settings={"n_steps": 640, "batch_size": 512},  # 5120 steps a rollout, as the paper's batches of 5000
        ),
        "recurrent-ppo": Recipe(
            module="sb3_contrib",
            cls="RecurrentPPO",
            summary="proximal policy optimisation with a memory (LSTM)",
            on_policy=True,
            actions=ANY_ACTION,
            settings={"n_steps": 256, "batch_size": 512},
            recurrent=True,
        ),
        "sac": Recipe(
            module="stable_baselines3",
            cls="SAC",
            summary="soft actor-critic (Haarnoja et al. 2018)",
            on_policy=False,
            actions=("Box",),
            settings={"buffer_size": 100_000},
        ),
        "td3": Recipe(
            module="stable_baselines3",
            cls="TD3",
            summary="twin delayed deterministic policy gradient (Fujimoto et al. 2018)",
            on_policy=False,
            actions=("Box",),
            settings={"buffer_size": 100_000, "action_noise": {"kind": "normal", "sigma": 0.1}},
        ),
        "ddpg": Recipe(
            module="stable_baselines3",
            cls="DDPG",
            summary="deep deterministic policy gradient (Lillicrap et al. 2016)",
            on_policy=False,
            actions=("Box",),
            settings={"buffer_size": 100_000, "action_noise": {"kind": "normal", "sigma": 0.1}},
        ),
        "dqn": Recipe(
            module="stable_baselines3",
            cls="DQN",
            summary="deep Q-network (Mnih et al. 2015)",
            on_policy=False,
            actions=("Discrete",),
            settings={"buffer_size": 100_000, "learning_starts": 1000, "target_update_interval": 1000},
        ),
        "dyna-sac": Recipe(
            module="stable_baselines3",
            cls="SAC",
            summary="sac on short rollouts in a learned model, as MBPO (Janner et al. 2019)",
            on_policy=False,
            actions=("Box",),
            settings={"buffer_size": 100_000, "learning_starts": 500, "gradient_steps": 4},
            dyna={"rollout": 2},
        ),
        "dyna-td3": Recipe(
            module="stable_baselines3",
            cls="TD3",
            summary="td3 on short rollouts in a learned model",
            on_policy=False,
            actions=("Box",),
            settings={
                "buffer_size": 100_000,
                "learning_starts": 500,
                "gradient_steps": 4,
                "action_noise": {"kind": "normal", "sigma": 0.1},
            },
            dyna={"rollout": 2},
        ),
        "dyna-dqn": Recipe(
            module="stable_baselines3",
            cls="DQN",
            summary="dqn on short rollouts in a learned model",
            on_policy=False,
            actions=("Discrete",),
            settings={
                "buffer_size": 100_000,
                "learning_starts": 500,
                "train_freq": 1,
                "gradient_steps": 2,
                "target_update_interval": 250,
            },
            dyna={"rollout": 2},
        ),
    }
)

BONUSES: Mapping[str, str] = MappingProxyType(
    {
        "none": "no bonus: the untouched learner, as control",
        "vime": "realised information gain of a Bayesian network, corrected recipe (the default)",
        "vime-faithful": "realised information gain by the published recipe (Houthooft et al. 2016), quirks included",
        "expected-gain": "expected information gain: what a transition would tell on average, blind to noise",
        "icm": "error of a forward model in features of what the agent controls (Pathak et al. 2017)",
        "disagreement": "variance of the predictions of an ensemble of forward models (Pathak et al. 2019)",
        "ride": "change of controllable features over the root of the episodic count (Raileanu and Rocktäschel 2020)",
        "e3b": "elliptical episodic bonus on controllable features (Henaff et al. 2022)",
        "deir": "discriminative episodic novelty (Wan et al. 2023)",
        "girm": "error of a generative model that rebuilds the successor (Yu et al. 2020)",
        "ex2": "novelty by exemplar discriminators (Fu et al. 2017)",
        "rnd": "random network distillation (Burda et al. 2018)",
        "counts": "one over the root of visits, exact or on a grid (Strehl and Littman 2008)",
        "simhash": "counts by a locality-sensitive hash (Tang et al. 2017)",
        "pseudo-counts": "soft counts of the episode by nearest neighbours (Badia et al. 2020)",
        "density-counts": "counts by what a density gains from seeing a place (Bellemare 2016, Ostrovski 2017)",
        "ngu": "pseudo-counts of the episode, modulated by rnd (Badia et al. 2020)",
        "re3": "state entropy by nearest neighbours in random features (Seo et al. 2021)",
        "rise": "Rényi entropy of the states (Yuan et al. 2022)",
        "revd": "discrepancy between an episode and the one before (Yuan et al. 2023)",
        "noveld": "rise in novelty on the first visit of the episode (Zhang et al. 2021)",
        "lpm": "learning progress of a forward model, blind to noise (Hou et al. 2025)",
    }
)

ENCODERS: Mapping[str, str] = MappingProxyType(
    {
        "random": "what a bonus has by itself: on images frozen random convolutions, or its own trained ones",
        "vae": "the code of a variational autoencoder, trained on the agent's own frames (Kingma and Welling 2014)",
        "iaf-vae": "the same with an inverse autoregressive posterior (Kingma et al. 2016)",
        "inverse": "features that tell which action led from one observation to the next (Pathak et al. 2017)",
    }
)
"""What `encoder=` of a bonus may name, beside every other generative model that has a code, and folders of models."""
