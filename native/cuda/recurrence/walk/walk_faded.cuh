// The walk through the halves of a head's chunks where every key has a gate of its own: walk.cuh with keys and queries
// that have faded before. A warp has sixteen of the state's values, over all keys, as the sums of a product S^T. Per
// half, with the operands of faded.cuh and the tile V of its tokens,
//   W^T = V^T - S^T erase^T      R^T = W^T solve^T [linear: V^T]
//   O^T = S^T queries^T + R^T read^T      S^T <- through S^T + R^T write
#pragma once
#include "../../math.cuh"
#include "faded.cuh"
#include "pipeline.cuh"
#include "rows.cuh"

namespace fw::cuda::walk {

template <int K, int kWarps, int kStages, bool kErases, class Engine>
struct WalkFaded {
  static constexpr int kThreads = kWarps * kWarp, kValues = 16 * kWarps;
  using HalfRows = RowsOf<kHalf>;
  struct Args {
    Problem p;
    const Faded<K>* faded;
    Out output;
    OutMaybe finalState, states, written;
    Carry carry;
  };
  struct alignas(1024) Stage {
    uint16_t erase[kTokens * K], write[kTokens * K], pairs[kSquare];
    uint16_t rows[kTokens * (K > kValues ? K : kValues)];  // queries, and values below them
    float through[K];
  };
  struct Shared {
    Stage stages[kStages];
  };

  // What does not change along the sequence.
  struct Work {
    const Args& args;
    Task task;
    Source values;
    int64_t place;  // of the sequence's first half, among all operands of the group

    FW_DEVICE const Faded<K>& faded(int64_t half) const {
      return args.faded[place + half / 2 * (2 * args.p.heads) + half % 2];
    }
  };

  static FW_DEVICE void run(const Args& args, Shared& shared) {
    const Problem& p = args.p;
    const int blocks = (p.V + kValues - 1) / kValues;
    const int64_t h = block() / blocks % p.heads, n = args.carry.firstSequence + block() / blocks / p.heads;
    const Portion own = portion_at<kTokens>(p, n);
    if (!own.there) return;
    const int first = static_cast<int>(block() % blocks) * kValues;
    const Work work = {args, task_of(p, own.sequence, n, h, first),
                       source_of(p.v, p.heads, h, own.sequence.begin, first),
                       2 * ((own.sequence.chunk - p.firstChunk) * p.heads + h)};
    State<K> state;
    get_state(work, own.begins, state);
    const int64_t halves = chunks_of<kHalf>(own.sequence.length), end = own.ends ? halves : 2 * own.end;
    Pipeline<kStages, Engine>::run(
        2 * own.begin, end, [&](int64_t half, int stage) { fill(work, half, shared.stages[stage]); },
        [&](int64_t half, int stage) {
          if (args.states.data && half % 2 == 0) put_state(work, args.states, checkpoint_row(p, n, half / 2), state);
          step(work, half, shared.stages[stage], state);
        });
    if (!own.ends) put_state(work, args.carry.carry, 0, state);
    else if (args.finalState.data) put_state(work, args.finalState, n, state);
  }

  static FW_DEVICE void fill(const Work& work, int64_t half, Stage& stage) {
    const Problem& p = work.args.p;
    const Faded<K>& from = work.faded(half);
    const int count = work.task.template tokens<kHalf>(half), width = p.V - work.task.first;
    constexpr int kRows = kErases ? kTokens : kHalf;
    copy_rows<K, kThreads, kHalf>(stage.rows, {from.queries, K}, 0, kHalf);
    copy_rows<kValues, kThreads, kHalf>(stage.rows + kLow, work.values, half * kHalf, count, width);
    if (kErases) copy_tile<K, kThreads, kRows>(stage.erase, from.erase);
    copy_tile<K, kThreads, kRows>(stage.write, from.write);
    copy_tile<64, kThreads, kRows>(stage.pairs, from.pairs);
    if (thread() < K / 4) copyAsync16(stage.through + 4 * thread(), from.through + 4 * thread());
  }

  // Products are under way while the warp computes what does not depend on them.
  static FW_DEVICE void step(const Work& work, int64_t half, const Stage& stage, State<K>& state) {
    HalfRows output = {}, written = {};
    Factors left[kHalf / 16];
    read_state(stage, state, output, written);
    if (work.args.written.data) put_written(work, half, written);
    FW_UNROLL for (int k = 0; k < kHalf / 16; k++) left[k] = split(written, k);
    Engine::begin(output, state);
    FW_UNROLL for (int k = 0; k < kHalf / 16; k++) multiply_pairs(output, left[k], stage.pairs, k);
    Engine::close();
    FW_UNROLL for (int k = 0; k < kHalf / 16; k++) {
      if constexpr (kErases) {
        Engine::columns(state, left[k].high, stage.write + kLow, k);
        Engine::columns(state, left[k], stage.write, k);
      } else {
        Engine::columns(state, left[k].high, stage.write, k);
      }
    }
    Engine::close();
    Engine::template end<1>(output);
    put_output(work, half, output);
    Engine::end(state);
  }

  // What is read of the state, which goes through the half, and what the tokens write: their values, or what the solution
  // makes of the errors.
  static FW_DEVICE void read_state(const Stage& stage, State<K>& state, HalfRows& output, HalfRows& written) {
    HalfRows errors = {};
    uint32_t of_state[K / 16][4];
    FW_UNROLL for (int k = 0; k < K / 16; k++) round_to(of_state[k], state, k);
    Engine::begin(errors, output);
    if constexpr (kErases) {
      FW_UNROLL for (int k = 0; k < K / 16; k++) {
        Engine::rows(errors, of_state[k], stage.erase + kLow, k);
        Engine::rows(errors, of_state[k], stage.erase, k);
      }
      Engine::close();
    }
    FW_UNROLL for (int k = 0; k < K / 16; k++) Engine::rows(output, of_state[k], stage.rows, k);
    Engine::close();
    pass_through(stage, state);
    if constexpr (kErases) {
      Engine::template end<1>(errors);
      solve(stage, errors, written);
    } else {
      FW_UNROLL for (int i = 0; i < kHalf / 8; i++) take_values(stage.rows + kLow, i, written[i]);
    }
    Engine::end(output);
  }

  static FW_DEVICE void pass_through(const Stage& stage, State<K>& state) {
    FW_UNROLL for (int i = 0; i < K / 8; i++) {
      const float2 through = *reinterpret_cast<const float2*>(stage.through + 8 * i + own_token());
      state[i][0] *= through.x, state[i][1] *= through.y, state[i][2] *= through.x, state[i][3] *= through.y;
    }
  }

  static FW_DEVICE void solve(const Stage& stage, HalfRows& errors, HalfRows& written) {
    Factors left[kHalf / 16];
    FW_UNROLL for (int k = 0; k < kHalf / 16; k++) {
      FW_UNROLL for (int i = 2 * k; i < 2 * k + 2; i++) {
        float values[4];
        take_values(stage.rows + kLow, i, values);
        FW_UNROLL for (int e = 0; e < 4; e++) errors[i][e] = values[e] - errors[i][e];
      }
      left[k] = split(errors, k);
    }
    Engine::begin(written);
    FW_UNROLL for (int k = 0; k < kHalf / 16; k++) multiply_pairs(written, left[k], stage.pairs + kLow, k);
    Engine::close();
    Engine::end(written);
  }

  // With the transpose of a lower triangular matrix whose low parts stand beside it; the product of the low parts is
  // too small to matter.
  static FW_DEVICE void multiply_pairs(HalfRows& sums, const Factors& left, const uint16_t* tile, int k) {
    Engine::lower(sums, left.high, tile, k, kHalf);
    Engine::lower(sums, left, tile, k);
  }

  static FW_DEVICE void put_output(const Work& work, int64_t half, const HalfRows& output) {
    work.task.template each_pair<kHalf>(half, [&](int i, int e, int64_t place) {
      uint16_t* const to = static_cast<uint16_t*>(work.args.output.data);
      *reinterpret_cast<uint32_t*>(to + place) = toBfloat16Pair(output[i][e], output[i][e + 2]);
    });
  }
  static FW_DEVICE void put_written(const Work& work, int64_t half, const HalfRows& written) {
    work.task.template each_pair<kHalf>(half, [&](int i, int e, int64_t place) {
      put_pair(work.args.written + place, written[i][e], written[i][e + 2]);
    });
  }

  // What the group before has left; else the initial state of the sequence, if it has one.
  static FW_DEVICE void get_state(const Work& work, bool begins, State<K>& state) {
    FW_UNROLL for (int i = 0; i < K / 8; i++)
      FW_UNROLL for (int e = 0; e < 4; e++) state[i][e] = 0;
    In from = work.args.p.initialState;
    if (!begins) from = {work.args.carry.carried, kFloat32};
    if (!from.data) return;
    work.task.template each_key<K>(begins ? work.task.n : 0, [&](int i, int e, int64_t place) {
      state[i][e] = load(from, place), state[i][e + 2] = load(from, place + 1);
    });
  }

  static FW_DEVICE void put_state(const Work& work, float* to, int64_t row, const State<K>& state) {
    work.task.template each_key<K>(row, [&](int i, int e, int64_t place) {
      put_pair(to + place, flushed(state[i][e]), flushed(state[i][e + 2]));
    });
  }
};

}  // namespace fw::cuda::walk
