"""PAC-Bayes measures: the posterior is a Gaussian around the weights, as wide as the training accuracy permits.

sigma is ``perturbations.largest_noise``, m the number of training images. Norms include biases, since both weights and
biases are perturbed. (The code of arXiv:2010.11924 excludes biases from the norms, passes sigma^2 to its generator
where a standard deviation is expected, and searches up to sigma = 2.)
"""

from torch import Tensor

from baselines.measures.context import MeasureContext
from baselines.measures.measure import Measure
from baselines.measures.norms import distance_from_initialization, weight_norm
from baselines.measures.perturbations import at_tolerated_size, largest_noise, sample_term


def pac_bayes_init(context: MeasureContext) -> Tensor:
    """||w - w0||^2/(4 sigma^2) + ln(m/sigma) + 10; undefined without the initialization."""
    return _bound(context, distance_from_initialization(context))


def pac_bayes_orig(context: MeasureContext) -> Tensor:
    """||w||^2/(4 sigma^2) + ln(m/sigma) + 10."""
    return _bound(context, weight_norm(context))


def pac_bayes_flatness(context: MeasureContext) -> Tensor:
    """1/sigma^2."""
    return at_tolerated_size(context, largest_noise, lambda sigma: sigma.square().reciprocal())


def _bound(context: MeasureContext, distance: Tensor) -> Tensor:
    def bound(sigma: Tensor) -> Tensor:
        return distance.square() / (4 * sigma.square()) + sample_term(context, sigma)

    return at_tolerated_size(context, largest_noise, bound)


MEASURES = (
    Measure(
        name="pac-bayes-init",
        function=pac_bayes_init,
        access="train-data",
        cost="search",
        formula="||w - w0||^2/(4 sigma^2) + ln(m/sigma) + 10, noise sigma costs .1 accuracy",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 48",
        version=2,
    ),
    Measure(
        name="pac-bayes-orig",
        function=pac_bayes_orig,
        access="train-data",
        cost="search",
        formula="||w||^2/(4 sigma^2) + ln(m/sigma) + 10, noise sigma costs .1 accuracy",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 49",
        version=2,
    ),
    Measure(
        name="pac-bayes-flatness",
        function=pac_bayes_flatness,
        access="train-data",
        cost="search",
        formula="1/sigma^2, noise sigma costs .1 accuracy",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 53",
        version=2,
    ),
)
