"""PAC-Bayes measures: the network is a Gaussian around its weights, as wide as its training accuracy lets it be.

sigma is ``searches.largest_noise``, m the number of training images. Weights and biases both count, since both are
perturbed. (arXiv:2010.11924's code leaves biases out of the norms, gives its generator sigma^2 where a standard
deviation belongs, and searches up to sigma = 2.)
"""

from torch import Tensor

from baselines.measures.context import MeasureContext
from baselines.measures.measure import Measure
from baselines.measures.norms import distance_from_initialization, weight_norm
from baselines.measures.perturbations import largest_noise, sample_term, searched


def pac_bayes_init(context: MeasureContext) -> Tensor:
    """||w - w0||^2/(4 sigma^2) + ln(m/sigma) + 10; undefined where the initialization is not known."""
    return _bound(context, distance_from_initialization(context))


def pac_bayes_orig(context: MeasureContext) -> Tensor:
    """||w||^2/(4 sigma^2) + ln(m/sigma) + 10."""
    return _bound(context, weight_norm(context))


def pac_bayes_flatness(context: MeasureContext) -> Tensor:
    """1/sigma^2."""
    return searched(context, largest_noise).square().reciprocal()


def _bound(context: MeasureContext, distance: Tensor) -> Tensor:
    sigma = searched(context, largest_noise)
    return distance.square() / (4 * sigma.square()) + sample_term(context, sigma)


MEASURES = (
    Measure(
        name="pac-bayes-init",
        function=pac_bayes_init,
        access="train-data",
        cost="search",
        formula="||w - w0||^2/(4 sigma^2) + ln(m/sigma) + 10, noise sigma costs .1 accuracy",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 48",
    ),
    Measure(
        name="pac-bayes-orig",
        function=pac_bayes_orig,
        access="train-data",
        cost="search",
        formula="||w||^2/(4 sigma^2) + ln(m/sigma) + 10, noise sigma costs .1 accuracy",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 49",
    ),
    Measure(
        name="pac-bayes-flatness",
        function=pac_bayes_flatness,
        access="train-data",
        cost="search",
        formula="1/sigma^2, noise sigma costs .1 accuracy",
        citation="Jiang et al. 2019, arXiv:1912.02178, eq. 53",
    ),
)
