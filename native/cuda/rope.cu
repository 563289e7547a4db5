// Rotary position embedding.
#include "flat.cuh"
#include "math.cuh"

namespace fw::cuda {

// A thread turns one pair, or passes on one of the coordinates that are not turned, in all heads of a token.
struct Rope {
  static constexpr int kThreads = kFlatThreads;
  using Args = ropeArgs;
  struct Shared {};
  static FW_DEVICE void run(const Args& a, Shared&) {
    const Division at = divide(flatThread(), a.width - a.pairs);
    const int64_t t = at.quotient, pair = at.rest, first = t * a.heads * a.width, end = first + a.heads * a.width;
    if (t >= a.tokens) return;
    if (pair >= a.pairs) {
      for (int64_t i = first + a.pairs + pair; i < end; i += a.width) store(a.y, i, load(a.x, i));
      return;
    }
    // The angle grows to 10^5 and more: in float32 its rounding alone would cost two digits.
    const double angle = static_cast<double>(a.positions.ints()[t]) * load(a.frequencies, pair);
    const Turn turn = turnOf(angle * 0.63661977236758134);  // 2 / pi
    const float cosine = turn.cosine, sine = a.inverse ? -turn.sine : turn.sine;
    const int64_t partner = a.interleaved ? 1 : a.pairs;
    for (int64_t i = first + (a.interleaved ? 2 * pair : pair); i < end; i += a.width) {
      const float x = load(a.x, i), y = load(a.x, i + partner);
      store(a.y, i, x * cosine - y * sine);
      store(a.y, i + partner, x * sine + y * cosine);
    }
  }
};

void rope(const Context& cx, const ropeArgs& a) {
  launch<Rope>(cx, (a.tokens * (a.width - a.pairs) + kFlatThreads - 1) / kFlatThreads, a);
}

}  // namespace fw::cuda
