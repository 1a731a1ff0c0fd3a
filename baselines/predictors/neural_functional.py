"""Neural functionals: networks that read the weights of other networks (Zhou et al. 2023, arXiv:2302.14040)."""

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from baselines.access import View
from baselines.methods import NotApplicable
from baselines.weight_space.equivariant import EquivariantLinear, average
from baselines.weight_space.norms import without_norms
from baselines.weight_space.selection import validation_tau
from baselines.weight_space.symmetry import Features, WeightSpace, chain_sizes
from zoo_builder.errors import one_of

VARIANTS = {"np": WeightSpace.np, "hnp": WeightSpace.hnp}
EVALUATION_BATCH = 64


class EndEmbedding(nn.Module):
    """Adds a learned vector to the features of each input and output neuron that may be permuted.

    The vectors distinguish neurons that the layers treat alike. They are empty in a space that folds inputs and outputs
    into channels.
    """

    def __init__(self, space: WeightSpace, channels: int):
        super().__init__()
        self.vectors = nn.ParameterDict()
        for position, tensor in enumerate(space.tensors):
            if set(tensor.axes) & set(space.ends):
                sizes = [
                    size if axis in space.ends else 1 for axis, size in zip(tensor.axes, tensor.sizes, strict=True)
                ]
                self.vectors[str(position)] = nn.Parameter(torch.randn(channels * tensor.fold, *sizes))

    def forward(self, features: Features) -> Features:
        features = list(features)
        for position, vector in self.vectors.items():
            features[int(position)] = features[int(position)] + vector
        return features


class NeuralFunctionalNetwork(nn.Module):
    """Maps one-channel features to logits [batch] that are invariant to permutations of hidden neurons.

    Equivariant layers of 16, 16 and 5 channels with ReLU, averages over the hidden neurons, and an MLP with two hidden
    layers of 1,000 on the averages. Features of different input or output neurons are not averaged.
    """

    channels = (1, 16, 16, 5)
    width = 1000

    def __init__(self, space: WeightSpace):
        super().__init__()
        self.space = space
        self.embeddings = nn.ModuleList(EndEmbedding(space, channels) for channels in self.channels[:-1])
        self.layers = nn.ModuleList(
            EquivariantLinear(space, *pair) for pair in zip(self.channels, self.channels[1:], strict=False)
        )
        averages = [
            tensor.fold
            * math.prod(size for axis, size in zip(tensor.axes, tensor.sizes, strict=True) if axis in space.ends)
            for tensor in space.tensors
        ]
        self.head = nn.Sequential(
            nn.Linear(self.channels[-1] * sum(averages), self.width),
            nn.ReLU(),
            nn.Linear(self.width, self.width),
            nn.ReLU(),
            nn.Linear(self.width, 1),
        )

    def forward(self, features: Features) -> Tensor:
        for embedding, layer in zip(self.embeddings, self.layers, strict=True):
            features = [feature.relu() for feature in layer(embedding(features))]
        pairs = zip(features, self.space.tensors, strict=True)
        averages = [average(feature, tensor.axes, self.space.ends).flatten(1) for feature, tensor in pairs]
        return self.head(torch.cat(averages, 1)).squeeze(1)


class NeuralFunctional:
    """NFN_NP ("np", with learned input and output embeddings) or NFN_HNP ("hnp") fitted to accuracies or gaps.

    As published: binary cross-entropy, Adam at 1e-3, batches of 8, 50 epochs; the epoch with the largest validation tau
    is kept.

    Raises:
        InputError: there is no such variant.
    """

    access = "weights"
    citation = "Zhou et al. 2023, Permutation Equivariant Neural Functionals (arXiv:2302.14040)"

    def __init__(
        self,
        variant: str = "np",
        epochs: int = 50,
        batch_size: int = 8,
        learning_rate: float = 1e-3,
        patience: int = 10,
        seed: int = 0,
    ):
        one_of("variant", variant, VARIANTS)
        self.name = f"nfn-{variant}"
        self.variant = variant
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.patience = patience
        self.seed = seed

    def fit(
        self, view: View, target: np.ndarray, validation: View, validation_target: np.ndarray
    ) -> "NeuralFunctional":
        """Trains on ``view`` and selects the epoch on ``validation``.

        Args:
            target, validation_target: accuracies in [0, 1] or, if any is negative, gaps in [-1, 1], which are learned
                as (gap + 1) / 2.

        Raises:
            NotApplicable: the models differ in the widths or kernels of their layers, or have shortcuts or a norm that
                cannot be folded into the layer before it.
        """
        is_gap = min(target.min(), validation_target.min()) < 0
        self._offset, self._scale = (-1.0, 2.0) if is_gap else (0.0, 1.0)
        probabilities = torch.as_tensor((target - self._offset) / self._scale, dtype=torch.float32)
        self._space = VARIANTS[self.variant](*chain_sizes(without_norms(view.stacks[0]).architecture))
        raw = weight_features(view, self._space)
        self._moments = [_moments(feature) for feature in raw]
        features, validation_features = (
            self._standardized(raw),
            self._standardized(weight_features(validation, self._space)),
        )

        best_tau, best_epoch, best_state = -math.inf, 0, {}
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            self._network = NeuralFunctionalNetwork(self._space)
            optimizer = torch.optim.Adam(self._network.parameters(), lr=self.learning_rate, fused=True)
            for epoch in range(self.epochs):
                for batch in torch.randperm(view.size).split(self.batch_size):
                    logits = self._network([feature[batch] for feature in features])
                    optimizer.zero_grad()
                    binary_cross_entropy_with_logits(logits, probabilities[batch]).backward()
                    optimizer.step()
                tau = validation_tau(self._probabilities(validation_features), validation_target)
                if tau > best_tau:
                    best_tau, best_epoch = tau, epoch
                    best_state = copy.deepcopy(self._network.state_dict())
                elif epoch - best_epoch >= self.patience:
                    break
        self._network.load_state_dict(best_state)
        return self

    def predict(self, view: View) -> np.ndarray:
        """float64 [n], in the units of the target."""
        return self._offset + self._scale * self._probabilities(self._standardized(weight_features(view, self._space)))

    def _standardized(self, features: Features) -> Features:
        return [(feature - mean) / std for feature, (mean, std) in zip(features, self._moments, strict=True)]

    @torch.no_grad()
    def _probabilities(self, features: Features) -> np.ndarray:
        batches = zip(*(feature.split(EVALUATION_BATCH) for feature in features), strict=True)
        logits = torch.cat([self._network(list(batch)) for batch in batches])
        return logits.double().sigmoid().numpy()


def weight_features(view: View, space: WeightSpace) -> Features:
    """Final weights of all models of a view, in its order, as float32 features of one channel.

    Weights that are not finite are replaced by 0: a diverged network predicts one class for every image, like a network
    whose weights are 0.

    Raises:
        NotApplicable: a model's layers have other widths or kernels than ``space``.
    """
    folded = []
    for stack in map(without_norms, view.stacks):
        widths, kernels = chain_sizes(stack.architecture)
        if (widths, kernels) != (space.widths, space.kernels):
            raise NotApplicable(
                "a neural functional reads networks whose layers have the same sizes, and these differ: widths "
                f"{space.widths} with {space.kernels} weights per pair of neurons, and {widths} with {kernels}"
            )
        tensors = [torch.nan_to_num(stack.parameters[name].float(), 0, 0, 0) for name in stack.architecture.parameters]
        shapes = zip(tensors[::2], widths[1:], widths, kernels, strict=False)
        weights = [tensor.reshape(len(stack), *shape) for tensor, *shape in shapes]
        folded.append(space.fold(weights, tensors[1::2]))
    order = np.argsort(np.concatenate([stack.rows for stack in view.stacks]))
    return [torch.cat(features)[order] for features in zip(*folded, strict=True)]


def _moments(feature: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over models and neurons, which keeps neurons exchangeable."""
    dims = [d for d in range(feature.dim()) if d != 1]
    std = feature.std(dims, keepdim=True)
    return feature.mean(dims, keepdim=True), std.where(std > 1e-5, 1.0)
