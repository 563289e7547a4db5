// What a warp of a walk has in its registers: sixteen of the state's values over all keys, or over the tokens of a chunk, as
// the sums of products whose columns are keys or tokens; laid out and stored as those of walk/rows.cuh.
#pragma once
#include "../walk/pipeline.cuh"
#include "../walk/rows.cuh"
#include "scores.cuh"

namespace fw::cuda::float32 {

using walk::own_token;
using walk::own_value;
using walk::put_pair;
using walk::State;
using walk::Task;
using walk::task_of;

constexpr int kWarps = 4, kThreads = kWarps * kWarp, kValues = 16 * kWarps;  // of a block that walks

// What a walk needs of a chunk and head, and of its block's values.
template <int K>
struct Stage {
  alignas(16) float keys[kTokens * K], queries[kTokens * K];  // beside each other, rows of one tile
  float values[kTokens * kValues];
  Scores scores;
};
template <int K>
struct Stages {
  static constexpr int kCount = 2;  // with 128 keys they fit every card
  Stage<K> stages[kCount];
  // Where they are filled from: the same for all threads, whose registers are scarce.
  Source keys, queries, values;
  const Scores* scores;  // of the first chunk

  // For a head of a sequence; `rows` are over values.
  FW_DEVICE void begin(const Task& task, int64_t token, const Heads& rows, const Scores* of_first) {
    const Problem& p = task.p;
    if (thread() == 0) {
      keys = source_of(p.k, p.heads, task.h, token), queries = source_of(p.q, p.heads, task.h, token);
      values = source_of(rows, p.heads, task.h, token, task.first), scores = of_first;
    }
    barrier();
  }
  FW_DEVICE void fill(const Task& task, int64_t c, int stage) {
    const Problem& p = task.p;
    Stage<K>& to = stages[stage];
    const int64_t begin = c * kTokens;
    const int count = task.template tokens<kTokens>(c);
    copy_rows<K, kThreads>(to.keys, keys, begin, count);
    copy_rows<K, kThreads>(to.queries, queries, begin, count);
    copy_rows<kValues, kThreads>(to.values, values, begin, count, p.V - task.first);
    copy_scores<kThreads>(to.scores, scores[c * p.heads], p.erase);
  }
};
template <int K>
using Pipeline = walk::Pipeline<Stages<K>::kCount, walk::MmaEngine>;

// Of the block's values those of the warp, from a tile.
FW_DEVICE void take_values(Rows& rows, const float* tile) {
  FW_UNROLL for (int e = 0; e < 2; e++) {
    const int place = at<kValues>(own_token() + e, own_value());
    FW_UNROLL for (int i = 0; i < kBlocks; i++) {
      const float2 pair = *reinterpret_cast<const float2*>(tile + moved<kValues>(place, 8 * i, 0));
      rows[i][e] = pair.x, rows[i][e + 2] = pair.y;
    }
  }
}

// Calls visit(i, e, t) for the elements of Rows and their tokens.
template <class Visit>
FW_DEVICE void each_token(const Visit& visit) {
  walk::each_token<kTokens>(visit);
}

// sums += S^T tile^T
template <int K>
FW_DEVICE void multiply_state(Rows& sums, State<K>& state, const float* tile) {
  each_four(state, [&](const float (&four)[4][4], int first) {
    const RowsView<K> rows(tile + 8 * first);
    multiply_few(sums, [&](int k) { return left_of(four[k]); }, [&](int j, int k) { return rows.get(j, k); });
  });
}

// S += (rows tile)^T
template <int K>
FW_DEVICE void add_product(State<K>& state, const Rows& rows, const float* tile) {
  Left left[kBlocks];
  FW_UNROLL for (int k = 0; k < kBlocks; k++) left[k] = left_of(rows[k]);
  each_four(state, [&](float (&four)[4][4], int first) {
    const ColumnsView<K> columns(tile + 8 * first);
    multiply_few(four, [&](int k) -> const Left& { return left[k]; }, [&](int j, int k) { return columns.get(j, k); });
  });
}

template <int K>
FW_DEVICE void scale(State<K>& state, float by) {
  FW_UNROLL for (int i = 0; i < K / 8; i++)
    FW_UNROLL for (int e = 0; e < 4; e++) state[i][e] *= by;
}

// A state from row `row` of [rows, heads, K, V], nothing where there is none, and to it.
template <int K>
FW_DEVICE void get_state(const Task& task, const In& from, int64_t row, State<K>& state) {
  FW_UNROLL for (int i = 0; i < K / 8; i++)
    FW_UNROLL for (int e = 0; e < 4; e++) state[i][e] = 0;
  if (!from.data) return;
  task.template each_key<K>(row, [&](int i, int e, int64_t place) {
    state[i][e] = load(from, place), state[i][e + 2] = load(from, place + 1);
  });
}
template <int K>
FW_DEVICE void put_state(const Task& task, const Out& to, int64_t row, const State<K>& state) {
  task.template each_key<K>(row, [&](int i, int e, int64_t place) {
    put_pair(to, place, flushed(state[i][e]), flushed(state[i][e + 2]));
  });
}

}  // namespace fw::cuda::float32
