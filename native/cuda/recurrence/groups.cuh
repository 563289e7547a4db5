// A pass in groups of chunks. What is made for all chunks in parallel, before a block walks through those of a
// sequence, is made for as many at a time as scratch memory is granted for, in the order in which chunks of all sequences
// are counted, or the other way round. At most one sequence is cut between two groups; its state, or the gradient of its
// state, is carried over.
#pragma once
#include <algorithm>

#include "problem.cuh"

namespace fw::cuda {

struct Carry {
  int64_t firstSequence;  // of those that the group's blocks are for
  const float* carried;   // [heads, K, V] of the sequence that the group before has cut: the one that ran before,
  float* carry;           // and of the one that this group cuts; another
};

// The chunks [begin, end) of a sequence that the group has; none where it is not `there`.
struct Portion {
  Sequence sequence;
  int64_t begin, end;
  bool there, begins, ends;  // with its first chunk, with its last
};
template <int size = kChunk>
FW_DEVICE Portion portion_at(const Problem& p, int64_t n) {
  const Sequence sequence = sequence_at<size>(p, n);
  const int64_t beyond = p.firstChunk + p.groupChunks, last = sequence.chunk + chunks_of<size>(sequence.length);
  const bool begins = sequence.chunk >= p.firstChunk, ends = last <= beyond;
  const bool there = sequence.chunk < beyond && (begins || last > p.firstChunk);
  return {sequence, begins ? 0 : p.firstChunk - sequence.chunk, (ends ? last : beyond) - sequence.chunk,
          there,    begins,                                     ends};
}

// How many chunks there is scratch memory for, if each takes so many bytes; a group even where there are no chunks, for
// states pass through.
inline int64_t chunks_at_once(const Context& cx, const Problem& p, int64_t bytes) {
  const int64_t most = std::max<int64_t>(1, cx.most_scratch / std::max<int64_t>(1, bytes));
  const int64_t groups = (p.chunks + most - 1) / most;  // as large as each other
  return std::max<int64_t>(1, groups > 0 ? (p.chunks + groups - 1) / groups : 0);
}

// Calls run(problem of the group, number of its sequences, carry) for each group, from the first or from the last.
enum class Direction { kOn, kBack };
template <class Run>
void each_group(const Context& cx, Problem p, int64_t at_once, Direction direction, const Run& run) {
  float* carry[2] = {};
  for (float*& each : carry) each = at_once < p.chunks ? cx.scratch_of<float>(p.heads * p.K * p.V) : nullptr;
  const int64_t groups = std::max<int64_t>(1, (p.chunks + at_once - 1) / at_once);
  for (int64_t step = 0; step < groups; step++) {
    const int64_t group = direction == Direction::kOn ? step : groups - 1 - step;
    p.firstChunk = group * at_once, p.groupChunks = at_once;
    if (p.chunks > 0) p.groupChunks = std::min(at_once, p.chunks - p.firstChunk);
    // Where the host knows how long sequences are, only those of the group.
    int64_t first = 0, count = p.sequences;
    if (!p.offsets && p.chunks > 0) {
      const int64_t each = p.chunks / p.sequences;
      first = p.firstChunk / each;
      count = (p.firstChunk + p.groupChunks - 1) / each + 1 - first;
    }
    run(p, count, Carry{first, carry[step % 2], carry[(step + 1) % 2]});
  }
}

}  // namespace fw::cuda
