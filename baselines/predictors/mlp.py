"""An MLP with one hidden layer for a hundred to a few thousand models."""

import copy
from dataclasses import dataclass
from math import inf

import numpy as np
import pandas as pd
import torch
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from baselines.weight_space.selection import validation_tau

HIDDEN = 256
LEARNING_RATE = 1e-3
L2 = (1e-3, 1e-2, 1e-1)
STEPS = (25, 50, 100, 200, 400)
# Features of diverging networks are many standard deviations away and would dominate the fit.
FARTHEST = 3.0


@dataclass(frozen=True)
class MLP:
    """A network from standardized features to a standardized target."""

    scaler: StandardScaler
    network: nn.Module
    mean: float
    std: float

    def predict(self, features: pd.DataFrame) -> np.ndarray:
        """float64 [n], in the units of the target."""
        return self.mean + self.std * _outputs(self.network, _standardized(self.scaler, features))


def fit_mlp(
    features: pd.DataFrame, target: np.ndarray, validation_features: pd.DataFrame, validation_target: np.ndarray
) -> MLP:
    """A network fitted to ``target`` by Adam, with the l2 and number of steps of the largest validation tau.

    Args:
        features, validation_features: one row per model.
        target, validation_target: float64 [n].
    """
    scaler = StandardScaler().fit(features)
    inputs, validation_inputs = _standardized(scaler, features), _standardized(scaler, validation_features)
    mean, std = float(target.mean()), float(target.std())
    standardized = torch.tensor((target - mean) / (std or 1), dtype=torch.float32)
    best, chosen = -inf, nn.Sequential()
    for l2 in L2:
        network = _network(inputs.shape[1])
        optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, weight_decay=l2)
        for step in range(1, max(STEPS) + 1):
            optimizer.zero_grad()
            nn.functional.mse_loss(network(inputs)[:, 0], standardized).backward()
            optimizer.step()
            if (
                step in STEPS
                and (tau := validation_tau(_outputs(network, validation_inputs), validation_target)) > best
            ):
                best, chosen = tau, copy.deepcopy(network)
    return MLP(scaler, chosen, mean, std)


def _network(inputs: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))


def _standardized(scaler: StandardScaler, features: pd.DataFrame) -> Tensor:
    return torch.from_numpy(scaler.transform(features).clip(-FARTHEST, FARTHEST)).float()


@torch.no_grad()
def _outputs(network: nn.Module, inputs: Tensor) -> np.ndarray:
    return network(inputs)[:, 0].double().numpy()
