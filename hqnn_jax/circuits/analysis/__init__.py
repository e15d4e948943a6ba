"""Analysis of circuits: trainability, expressibility, entanglement, spectrum, information.

Every function takes a circuit and an explicit random key; `reporting.circuit_plots` draws what it
returns:

>>> import jax
>>> from hqnn_jax.circuits import analysis, strongly_entangling
>>> from hqnn_jax.reporting import circuit_plots
>>> circuit, key = strongly_entangling(num_qubits=2, num_layers=1), jax.random.key(0)
>>> plateau = analysis.gradient_variance(strongly_entangling, [2, 3], [1], key=key)
>>> circuit_plots.plot_gradient_variance(plateau).savefig("gradient_variance.png")
>>> expressive = analysis.expressibility(circuit, key=key).divergence
>>> entangling = analysis.entangling_capability(circuit, key=key).mean
>>> spectrum = analysis.fourier_spectrum(circuit, circuit.init_weights(key))
>>> fisher = analysis.sample_fisher_information(circuit, jax.random.normal(key, (50, 2)), key=key)
>>> dimension = analysis.effective_dimension(fisher, [1e3, 1e6]).normalized
"""

from hqnn_jax.circuits.analysis.barren_plateaus import (
    GradientVariance,
    global_cost,
    gradient_variance,
    local_cost,
)
from hqnn_jax.circuits.analysis.bloch import bloch_vectors
from hqnn_jax.circuits.analysis.entanglement import (
    EntanglingCapability,
    entangling_capability,
    meyer_wallach,
)
from hqnn_jax.circuits.analysis.fidelity import (
    Expressibility,
    divergence_from_haar,
    expressibility,
    fidelity_divergence,
    sample_fidelities,
)
from hqnn_jax.circuits.analysis.fisher import (
    EffectiveDimension,
    basis_probabilities,
    classical_fisher_information,
    effective_dimension,
    local_effective_dimension,
    parity_probabilities,
    quantum_fisher_information,
    sample_fisher_information,
)
from hqnn_jax.circuits.analysis.fourier import (
    FourierSpectrum,
    Frequencies,
    build_spectrum,
    find_frequencies,
    fourier_spectrum,
)
from hqnn_jax.circuits.analysis.weight_spectrum import (
    build_weight_power,
    find_weight_frequencies,
)

__all__ = [
    "EffectiveDimension",
    "EntanglingCapability",
    "Expressibility",
    "FourierSpectrum",
    "Frequencies",
    "GradientVariance",
    "basis_probabilities",
    "bloch_vectors",
    "build_spectrum",
    "build_weight_power",
    "classical_fisher_information",
    "divergence_from_haar",
    "effective_dimension",
    "entangling_capability",
    "expressibility",
    "fidelity_divergence",
    "find_frequencies",
    "find_weight_frequencies",
    "fourier_spectrum",
    "global_cost",
    "gradient_variance",
    "local_cost",
    "local_effective_dimension",
    "meyer_wallach",
    "parity_probabilities",
    "quantum_fisher_information",
    "sample_fidelities",
    "sample_fisher_information",
]
