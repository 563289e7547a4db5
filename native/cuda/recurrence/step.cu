// One token for many states, in place. Lanes hold columns of a state and warps take turns at its rows:
//   r = beta (u - sum_i e_i X_i S_i)      S_i <- D_i S_i + w_i r [+ k_i v]      o = scale sum_i q_i S_i [+ bonus]
// Exchanged, o_i = scale S_i q, and one block goes through all columns of its state. Others whose rows are whole 16 bytes are those
// of step_rows.cuh.
#include "step_rows.cuh"

namespace fw::cuda {
namespace {

struct Step {
  static constexpr int kThreads = 128, kWarps = kThreads / kWarp;
  struct Args {
    Problem p;
    InOut state;
    Out output;
  };
  struct Shared {
    float decay[kMostKeys], erase[kMostKeys], write[kMostKeys], second[kMostKeys], read[kMostKeys], output[kMostKeys];
    float erased[kWarps][kWarp], seen[kWarps][kWarp], weight[kWarps];
  };

  static FW_HOST_DEVICE int tiles(const Problem& p) { return (p.V + kWarp - 1) / kWarp; }

  static FW_DEVICE void run(const Args& args, Shared& x) {
    const Problem& p = args.p;
    const int64_t blocks = p.exchanged ? 1 : tiles(p);
    const int64_t h = block() / blocks % p.heads, n = block() / blocks / p.heads;
    stage(p, x, n, h);
    barrier();
    const int first = p.exchanged ? 0 : static_cast<int>(block() % blocks);
    const int last = p.exchanged ? tiles(p) : first + 1;
    for (int tile = first; tile < last; tile++) column(args, x, n, h, tile * kWarp + lane());
    if (!p.exchanged) return;
    for (int i = warp(); i < p.K; i += kWarps) {
      if (lane() == 0) store(args.output, (n * p.heads + h) * p.K + i, p.scale * x.output[i]);
    }
  }

  static FW_DEVICE void stage(const Problem& p, Shared& x, int64_t n, int64_t h) {
    float weight = 0;
    for (int i = thread(); i < p.K; i += kThreads) {
      const float k = load(p.k, n, h, p.heads, i), decay = expf(gate_at(p, n, h, i));
      x.decay[i] = decay;
      x.erase[i] = p.erase ? load(p.eraseKey, n, h, p.heads, i) * (p.undecayed ? 1 : decay) : 0;
      x.write[i] = load(p.writeKey, n, h, p.heads, i);
      x.second[i] = k;
      x.read[i] = p.exchanged ? 0 : load(p.q, n, h, p.heads, i);
      x.output[i] = 0;
      if (p.bonus.data) weight += x.read[i] * k * load(p.bonus, h * p.K + i);
    }
    weight = warpSum(weight);
    if (lane() == 0) x.weight[warp()] = weight;
  }

  static FW_DEVICE float over_warps(const float (&parts)[kWarps][kWarp]) {
    float sum = 0;
    for (int w = 0; w < kWarps; w++) sum += parts[w][lane()];
    return sum;
  }

  static FW_DEVICE void column(const Args& args, Shared& x, int64_t n, int64_t h, int j) {
    const Problem& p = args.p;
    const bool live = j < p.V;
    const int64_t at = (n * p.heads + h) * p.K * p.V + j;
    float erased = 0, before = 0;
    for (int i = warp(); live && i < p.K; i += kWarps) {
      const float s = load(args.state, at + static_cast<int64_t>(i) * p.V);
      erased += s * x.erase[i];
      before += s * x.read[i];
    }
    x.erased[warp()][lane()] = erased;
    barrier();
    const float v = live ? load(p.v, n, h, p.heads, j) : 0;
    const float r = live ? beta_at(p, n, h, j) * ((p.secondWrite ? 0 : v) - over_warps(x.erased)) : 0;
    const float q = live && p.exchanged ? load(p.q, n, h, p.heads, j) : 0;
    float after = 0;
    for (int i = warp(); i < p.K; i += kWarps) {
      float s = 0;
      if (live) {
        const int64_t place = at + static_cast<int64_t>(i) * p.V;
        s = flushed(x.decay[i] * load(args.state, place) + x.write[i] * r + (p.secondWrite ? x.second[i] * v : 0));
        store(args.state, place, s);
      }
      after += s * x.read[i];
      if (!p.exchanged) continue;
      const float row = warpSum(s * q);
      if (lane() == 0) x.output[i] += row;
    }
    x.seen[warp()][lane()] = p.readBefore ? before : after;
    barrier();
    if (warp() > 0 || !live || p.exchanged) return;
    float weight = 0;
    for (int w = 0; w < kWarps; w++) weight += x.weight[w];
    store(args.output, (n * p.heads + h) * p.V + j, p.scale * (over_warps(x.seen) + weight * v));
  }
};

}  // namespace

void recurrenceStep(const Context& cx, const recurrenceStepArgs& args) {
  const Problem p = decode(args);
  if (!p.exchanged && has_whole_rows(p, args.state)) return step_rows(cx, {p, args.state, args.output});
  launch<Step>(cx, p.sequences * p.heads * (p.exchanged ? 1 : Step::tiles(p)), {p, args.state, args.output});
}

}  // namespace fw::cuda
