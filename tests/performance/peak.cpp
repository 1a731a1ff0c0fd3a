// What this processor can do at most: multiplications and additions on registers only, in as many independent sums as
// the layers keep.
#include "layers.hpp"

extern "C" int64_t multiply(int64_t rounds, float factor, float* total) {
    Vector sums[ACCUMULATORS];
    for (int i = 0; i < ACCUMULATORS; i++) sums[i] = broadcast(factor * i);  // equal ones would be computed once
    for (int64_t round = 0; round < rounds; round++)
        UNROLL for (int i = 0; i < ACCUMULATORS; i++) sums[i] = sums[i] * factor + factor;
    Vector sum{};
    for (int i = 0; i < ACCUMULATORS; i++) sum += sums[i];
    for (int lane = 0; lane < LANES; lane++) *total += sum[lane];
    return rounds * ACCUMULATORS * LANES;
}
