// The arithmetic of a tensor core: c += a b for a 16 x 8 tile, in one of two ways: one sum after another in
// float32; or eight products and c at a time, cut to 24 bits where the largest has its first. How a card adds is not
// documented; what passes with both does not depend on it.
#pragma once

namespace emulation {

template <int depth>
void add_products(const float (&a)[16][depth], const float (&b)[depth][8], float (&c)[16][8]);
// out[lane] is the fragment of c of a lane.
template <int depth>
void multiply_add(const float (&a)[16][depth], const float (&b)[depth][8], void* const* out);

}  // namespace emulation
