package bandit

import "runtime"

// Numerics names the architecture and the version of the arithmetic that scores
// and probabilities come from. Where it is equal, a distribution can be
// recomputed bit for bit; elsewhere to 1e-12.
const Numerics = runtime.GOARCH + "/2"
