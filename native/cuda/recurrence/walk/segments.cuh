// Sequences of more than kWhole tokens are walked in segments at the same time: a head of one sequence would leave most of
// a card idle. Where they are cut follows from their own length, so that a sequence has the same bits in any company. What
// a segment makes of the state S that it starts with is
//   S' = A S + B      A [K, K], a number of a rule that does not erase      B [K, V]
// Its walk from no state leaves B, and the columns of the identity, walked beside those of the values, A (walk.cuh);
// from the first segment's state and the maps of the others follow the states at the cuts, in order (segments.cu).
// Then every segment is walked as a sequence by itself.
//
// What it costs: of the 376 products of tensor cores for a chunk and sixteen columns, a map has 252, for it reads nothing;
// by warpgroups it is 264 of 400. With C cuts and as many keys as values the card works 1 + (2 C - 1) 252 / (376 (C + 1))
// times as much as on whole sequences, and waits for the 64 chunks of a segment twice instead of for all of them once.
#pragma once
#include "tile.cuh"

namespace fw::cuda::walk {

constexpr int kWhole = 16384, kSegment = 4096, kSegmentChunks = kSegment / kTokens;

FW_HOST_DEVICE constexpr int64_t cuts_of(int64_t tokens) { return tokens > kWhole ? (tokens - 1) / kSegment : 0; }

// The cuts of all sequences, one after the other.
struct Cuts {
  const int32_t* first;  // of packed sequences that may have some: the cuts before each, [sequences + 1]; else null
  int64_t each, most;    // of each other sequence; of all, at most
  float* maps;           // A of the segment before the cut, [most, heads, K, K] or [most, heads]
  float* states;         // B, and then the state at the cut, [most, heads, K, V]
};
Cuts cuts_for(const Context& cx, const Problem& p);

// Segment `number` of sequence n, which ends at `cut` unless it is the last one, and its chunks [begin, end) that the
// group has; none where it is not `there`.
struct Segment {
  Sequence sequence;
  int n, number, cut, begin, end;
  bool there, begins, ends, last;  // with its first chunk, with its last; of its sequence
};

// `before`: the cuts of the sequences before n.
FW_DEVICE Segment segment_of(const Problem& p, int64_t n, int64_t before, int64_t number) {
  const Sequence sequence = sequence_at<kTokens>(p, n);
  const int64_t cuts = cuts_of(sequence.length), first = number * kSegmentChunks;
  const int64_t end = number < cuts ? first + kSegmentChunks : chunks_of<kTokens>(sequence.length);
  const int64_t from = p.firstChunk - sequence.chunk, beyond = from + p.groupChunks;
  const auto narrow = [](int64_t x) { return static_cast<int>(x); };
  Segment own{};
  own.sequence = sequence, own.n = narrow(n), own.number = narrow(number), own.cut = narrow(before + number);
  own.begins = first >= from, own.ends = end <= beyond, own.last = number == cuts;
  own.there = number <= cuts && first < beyond && (own.begins || end > from);
  own.begin = narrow(own.begins ? first : from), own.end = narrow(own.ends ? end : beyond);
  return own;
}

// Those of all sequences, counted by their places.
FW_DEVICE Segment segment_at(const Problem& p, const Cuts& cuts, int64_t place) {
  const int64_t n = cuts.first ? last_from(p.sequences, place, [&](int64_t of) { return of + cuts.first[of]; })
                               : place / (cuts.each + 1);
  const int64_t before = cuts.first ? cuts.first[n] : n * cuts.each;
  return segment_of(p, n, before, place - n - before);
}

// The segment before a cut; not `there` beyond the last one.
FW_DEVICE Segment segment_before(const Problem& p, const Cuts& cuts, int64_t cut) {
  const int64_t n =
      cuts.first ? last_from(p.sequences, cut, [&](int64_t of) { return cuts.first[of]; }) : cut / cuts.each;
  const int64_t before = cuts.first ? cuts.first[n] : n * cuts.each;
  Segment segment = segment_of(p, n, before, cut - before);
  segment.there = segment.there && !segment.last;
  return segment;
}

// Makes of the maps of the segments that end in the group the states behind them. `cuts` says how many the group's
// sequences have from cut `first` on.
template <int K>
void join_segments(const Context& cx, const Problem& p, const Cuts& cuts, int64_t first, int64_t count);

}  // namespace fw::cuda::walk
