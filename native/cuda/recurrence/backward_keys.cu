// Gradients of keys and gates, one chunk and head per block and one key per thread. Every exponent is the sum of the
// gates between two tokens, and the gradient of a gate is the sum over all that passes it, never a difference of sums:
//   from the state to a read at t >= m, from a write at j < m to the state, from j < m to t >= m, and from state to state.
#include "backward.cuh"

namespace fw::cuda {
namespace {

struct BackwardKeys {
  static constexpr int kThreads = kStateThreads;
  struct Args {
    Problem p;
    const float* parts;
    OutMaybe dq;  // unless exchanged
    Out dk;
    OutMaybe dgate, dbeta, deraseKey, dwriteKey;
    float* dbonus;  // [chunks, heads of the group, K]
  };
  struct Shared {
    float pairs[4 * kChunk * kChunk];
    float dbonus[kChunk];
    float dgate[kThreads / kWarp][kChunk];
  };

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const Problem& p = args.p;
    const Parts parts = Parts::of(p);
    const int64_t h = p.firstHead + block() % p.groupHeads;
    const Chunk chunk = chunk_at(p, block() / p.groupHeads);
    if (chunk.count == 0) return;
    const float* const from = args.parts + place_of(p, chunk, h) * parts.blocks * parts.size;
    const auto total = [&](int at) {
      float sum = 0;
      for (int b = 0; b < parts.blocks; b++) sum += from[b * parts.size + at];
      return sum;
    };
    for (int i = thread(); i < parts.matrices * kChunk * kChunk; i += kThreads) shared.pairs[i] = total(i);
    if (thread() < kChunk) {
      shared.dbonus[thread()] = total(parts.dbonus + thread());
      if (p.betaWidth == 1 && thread() < chunk.count) {
        store(args.dbeta, (chunk.begin + thread()) * p.heads + h, total(parts.dbeta + thread()));
      }
    }
    barrier();
    float dgates[kChunk] = {};  // summed over the keys of this thread
    for (int i = thread(); i < p.K; i += kThreads) key(args, shared, parts, chunk, h, i, total, dgates);
    if (p.gateWidth != 1) return;
    for (int t = 0; t < kChunk; t++) {
      const float sum = warpSum(dgates[t]);
      if (lane() == 0) shared.dgate[warp()][t] = sum;
    }
    barrier();
    if (thread() >= chunk.count) return;
    float sum = 0;
    for (int w = 0; w < kThreads / kWarp; w++) sum += shared.dgate[w][thread()];
    store(args.dgate, (chunk.begin + thread()) * p.heads + h, sum);
  }

  template <class Total>
  static FW_DEVICE void key(const Args& args, const Shared& shared, const Parts& parts, const Chunk& chunk, int64_t h,
                            int i, const Total& total, float (&dgates)[kChunk]) {
    const Problem& p = args.p;
    float gate[kChunk], write[kChunk], second[kChunk], dwrite[kChunk] = {}, dsecond[kChunk] = {}, dgate[kChunk] = {};
    for (int t = 0; t < chunk.count; t++) {
      gate[t] = gate_at(p, chunk.begin + t, h, i);
      write[t] = load(p.writeKey, chunk.begin + t, h, p.heads, i);
      second[t] = p.secondWrite ? load(p.k, chunk.begin + t, h, p.heads, i) : 0;
    }
    const auto pair = [&](int matrix, int t, int j) { return shared.pairs[(matrix * kChunk + t) * kChunk + j]; };
    float sum = 0, dbonus = 0;  // of the gates before t
    for (int t = 0; t < chunk.count; t++) {
      const int64_t token = chunk.begin + t, place = (token * p.heads + h) * p.K + i;
      // One for the read, one for the erase: the key, the last gate that it passes, what it gains.
      struct {
        float key, last, gain, through[kChunk];
      } sides[2];
      sides[0].key = load(p.left, token, h, p.heads, i) * p.leftScale;
      sides[1].key = p.erase ? load(p.eraseKey, token, h, p.heads, i) : 0;
      for (int side = 0; side < (p.erase ? 2 : 1); side++) {
        auto& x = sides[side];
        const bool before = side == 0 ? p.readBefore : p.undecayed;
        x.last = before ? t - 1 : t;
        x.gain = expf(before ? sum : sum + gate[t]) *
                 total(parts.rows(side == 0 ? Parts::kOfRead : Parts::kOfErase) + t * parts.keys + i);
        const float from_state = x.key * x.gain;
        // A token is read together with its own write, unless the read comes before it.
        const int newest = side == 0 && !p.readBefore ? t : t - 1;
        float between = before || newest == t ? 0 : gate[t];
        for (int j = newest; j >= 0; j--) {
          const float decay = expf(between), first = decay * pair(side, t, j);
          float gain = first * write[j];
          dwrite[j] += first * x.key;
          if (p.secondWrite) {
            const float other = decay * pair(side + 2, t, j);
            gain += other * second[j];
            dsecond[j] += other * x.key;
          }
          x.gain += gain;
          x.through[j] = x.key * gain;
          between += gate[j];
        }
        float passing = from_state;
        for (int m = 0; m <= x.last; m++) {
          dgate[m] += passing;
          if (m <= newest) passing += x.through[m];
        }
      }
      sum += gate[t];
      float dleft = p.leftScale * sides[0].gain, dk = 0;
      if (p.bonus.data) {
        const float q = load(p.q, token, h, p.heads, i), k = load(p.k, token, h, p.heads, i);
        const float weight = p.scale * shared.dbonus[t], bonus = load(p.bonus, h * p.K + i);
        dleft += weight * bonus * k;
        dk = weight * bonus * q;
        dbonus += weight * q * k;
      }
      if (args.dq.data) store(args.dq, place, dleft);
      if (args.deraseKey.data) store(args.deraseKey, place, sides[1].gain);
      else if (p.erase) dk += sides[1].gain;
      dsecond[t] += dk;
    }
    float rest = 0;
    for (int j = chunk.count - 1; j >= 0; j--) {
      const float decay = expf(rest);
      const float to_write = decay * total(parts.rows(Parts::kOfWrite) + j * parts.keys + i);
      const float to_second = p.secondWrite ? decay * total(parts.rows(Parts::kOfSecond) + j * parts.keys + i) : 0;
      dwrite[j] += to_write, dsecond[j] += to_second;
      const float passing = write[j] * to_write + second[j] * to_second;
      for (int m = j + 1; m < chunk.count; m++) dgate[m] += passing;
      rest += gate[j];
      const int64_t place = ((chunk.begin + j) * p.heads + h) * p.K + i;
      if (args.dwriteKey.data) store(args.dwriteKey, place, dwrite[j]);
      store(args.dk, place, dsecond[j] + (args.dwriteKey.data ? 0 : dwrite[j]));
    }
    if (args.dbonus) args.dbonus[place_of(p, chunk, h) * p.K + i] = dbonus;
    if (p.gateWidth == 0) return;
    const float across = expf(rest) * total(parts.gate + i);
    for (int t = 0; t < chunk.count; t++) {
      const float all = dgate[t] + across;
      dgates[t] += all;
      if (p.gateWidth > 1) store(args.dgate, ((chunk.begin + t) * p.heads + h) * p.K + i, all);
    }
  }
};

// dbonus[n, h, i] = sum over the chunks of sequence n, in their order.
struct AddBonus {
  static constexpr int kThreads = 128;
  struct Args {
    Problem p;
    const float* parts;
    Out dbonus;
  };
  struct Shared {};
  static FW_DEVICE void run(const Args& args, Shared&) {
    const Problem& p = args.p;
    const int64_t h = p.firstHead + block() % p.groupHeads, n = block() / p.groupHeads;
    const Sequence sequence = sequence_at(p, n);
    for (int i = thread(); i < p.K; i += kThreads) {
      float sum = 0;
      for (int64_t c = 0; c < chunks_of(sequence.length); c++) {
        sum += args.parts[place_of(p, chunk_of(sequence, n, c), h) * p.K + i];
      }
      store(args.dbonus, (n * p.heads + h) * p.K + i, sum);
    }
  }
};

}  // namespace

void backward_keys(const Context& cx, const recurrenceBackwardArgs& args, const Problem& p,
                   const BackwardMemory& memory) {
  OutMaybe dq;
  if (!p.exchanged) static_cast<Out&>(dq) = args.dq;
  launch<BackwardKeys>(cx, p.chunks * p.groupHeads, {p, memory.parts, dq, args.dk, args.dgate, args.dbeta,
                                                     args.deraseKey, args.dwriteKey, memory.dbonus});
  if (memory.dbonus) launch<AddBonus>(cx, p.sequences * p.groupHeads, {p, memory.dbonus, args.dbonus});
}

}  // namespace fw::cuda
