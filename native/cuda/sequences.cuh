// Sequences of a batch: of equal lengths, or packed, with offsets [sequences + 1] that only the device knows.
#pragma once
#include "operand.cuh"

namespace fw::cuda {

struct Sequences {
  In offsets;      // null when all have `tokens`
  int64_t count, tokens;

  FW_DEVICE int64_t start(int64_t s) const { return offsets.data ? offsets.ints()[s] : s * tokens; }
  FW_DEVICE int64_t length(int64_t s) const { return start(s + 1) - start(s); }

  // The last sequence s with place(s) <= x, where place never falls from one sequence to the next.
  template <class Place>
  FW_DEVICE int64_t last(int64_t x, const Place& place) const {
    int64_t low = 0, high = count;
    while (high - low > 1) {
      const int64_t middle = (low + high) / 2;
      if (place(middle) <= x) low = middle;
      else high = middle;
    }
    return low;
  }
  // The sequence of a token.
  FW_DEVICE int64_t of(int64_t token) const {
    if (!offsets.data) return token / tokens;
    return last(token, [&](int64_t s) { return start(s); });
  }

  int64_t total() const { return offsets.data ? tokens : count * tokens; }
};

}  // namespace fw::cuda
