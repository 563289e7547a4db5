// The backward pass in chunks (backward_chunk.h): what is known of one head of one sequence, and what memory holds of a
// chunk of its tokens.
#pragma once
#include "rows.h"

FW_NAMESPACE_BEGIN

// No gate, one per token or one per token and key.
enum Gate { kUngated, kPerToken, kPerKey };

// Whether the value of a normaliser is alone in a vector, and in a rule that chunk_column.h has products for.
inline bool column_apart(const Problem& p) {
  return p.max && p.values > 0 && p.values % kLanes == 0 && p.gate_width <= 1 && !p.erase && !p.second_write &&
         !p.exchanged;
}

// One head of a sequence. All gradients are those of q^T S dO, whichever of q and dO the read began with: where keys
// and values are exchanged, o = scale S q, dO stands in the place of q and q in that of dO.
struct Pass {
  const recurrenceBackwardArgs& args;
  const Problem& p;
  const Head x;
  const Sequence sequence;
  const int64_t n, head, K, V;  // the sequence's number; K and V are padded to whole vectors
  const int64_t columns;        // of V all but a normaliser that stands apart (chunk_column.h)
  const int64_t writes;         // rows of what a chunk writes
  const bool reads_before;      // whether anything reads a state before its decay
  TokenRows left, right;        // of the state in what is read: q and dO
  float* ones;                  // [K]

  Pass(const recurrenceBackwardArgs& args, const Problem& p, const Sequence& sequence, int64_t n, int64_t head)
      : args(args), p(p), x(head_of(p, head)), sequence(sequence), n(n), head(head), K(round_up(p.K, kLanes)),
        V(round_up(p.V, kLanes)), columns(column_apart(p) ? p.values : V),
        writes(p.second_write ? 2 * kChunk : kChunk), reads_before(p.read_before || p.undecayed) {
    const int64_t width = p.exchanged ? p.K : p.values;
    const TokenRows doutput{args.doutput + head * width, p.heads * width};
    left = p.exchanged ? doutput : x.q, right = p.exchanged ? x.q : doutput;
  }

  // Where token t of the sequence stands in an array [tokens, heads, ...].
  int64_t place(int64_t t) const { return (sequence.begin + t) * p.heads + head; }
  // Whether the part of the columns that ends at `to` has a normaliser behind it that stands apart.
  bool with_column(int64_t to) const { return to == columns && columns < V; }
  // Of an array [sequences, heads, K, V].
  int64_t state_at() const { return (n * p.heads + head) * p.K * p.V; }
  const float* checkpoint(int64_t t) const {
    return args.states + ((sequence.checkpoint + t / args.checkpointEvery) * p.heads + head) * p.K * p.V;
  }
};

// What gates make of a chunk's rows (chunk_gates.h).
struct Factors {
  float *grow, *shrink;  // e^b' and e^-b', per token or per token and key; grow is preceded by that before token 0
  float *start, *end;    // e^b_middle and e^(b_last - b_middle), per key, where b_middle begins and where it ends
};

// A chunk of up to kChunk tokens; C = kChunk, W = C or, with a second write, 2 C rows of what is written.
struct Chunk : Factors {
  int64_t t, count, rows;  // rows: tokens as a multiple of four, filled up with zeros where they are read
  bool anchors;                   // whether a gradient of gates per key starts anew at its first token

  // Made while the states are recomputed.
  Rows write, written;  // W' above K' [W, K], N above the values of a second write [W, V]; zeros beyond the tokens
  Rows state;           // S before the chunk, turned over: [V, K]

  // Made of what is read.
  Rows read, doutput;                 // Q' above E' [2 rows, K], dO above -dR [2 rows, V]
  Rows decayed;                       // `read` without what the first token reads before its decay
  Rows write_turned, written_turned;  // [K, W], [V, W]
  Rows scores;                        // of Q' and E' with W' [2 rows, W]
  float* beta;                        // [C]

  // D after the chunk, on its way to the state before it where gates per key are anchored, and before it: [K, V]. They
  // may be one memory.
  Rows dstate, dmiddle, dbefore;
  const float* before_end;  // `end` of the chunk before, or ones

  Rows derror, dvalues;              // P or P N (chunk_errors.h), dv of a second write: [C, V]
  Rows dscores, dread;               // stacked like `scores` and `read`
  Rows dwrite, dwrite_turned;        // [W, K], [K, W]
  float* dcolumn;                    // [K]: of D, the column of a normaliser that stands apart
  float* anchor;                     // [K]: S . D, per key
  float* dgates;                     // [C + 1] vectors (chunk_dgates.h)
  Rows read_turned, scores_turned, output, output_turned;  // of exchanged keys and values

  // Of rows that belong to what is read above those that belong to what is erased, the latter.
  Rows erased(Rows stacked) const { return stacked.from(rows); }
};

// Of what a chunk wrote, or of columns that stand for it, the part of a second write.
inline Rows second_rows(Rows x) { return x.from(kChunk); }
inline Rows second_columns(Rows x) { return x.from(0, kChunk); }

// How many rows what is read and what is erased are together.
inline int64_t stacked_rows(const Pass& s, const Chunk& x) { return s.p.erase ? 2 * x.rows : x.rows; }

template <Gate kGate>
static Factors lay_out_factors(const Pass& s, Arena& arena) {
  if (kGate == kUngated) return {s.ones, s.ones, s.ones, s.ones};
  const int64_t each = kGate == kPerKey ? s.K : 1, before = round_up(each, kLanes);
  float *grow = arena.floats(kChunk * each + before) + before, *shrink = arena.floats(kChunk * each);
  float *start = arena.floats(s.K), *end = arena.floats(s.K);
  return {grow, shrink, start, end};
}

// What is kept of every chunk between two checkpoints.
template <Gate kGate>
static void lay_out_written(const Pass& s, Arena& arena, Chunk& x) {
  x.write = rows_in(arena, s.writes, s.K), x.written = rows_in(arena, s.writes, s.V);
  static_cast<Factors&>(x) = lay_out_factors<kGate>(s, arena);
}

// What chunks may have in turn.
template <Gate kGate>
static void lay_out_gradients(const Pass& s, Arena& arena, Chunk& x) {
  x.read = rows_in(arena, 2 * kChunk, s.K), x.doutput = rows_in(arena, 2 * kChunk, s.V);
  x.decayed = kGate == kPerKey && s.reads_before ? rows_in(arena, 2 * kChunk, s.K) : x.read;
  x.write_turned = rows_in(arena, s.K, s.writes), x.written_turned = rows_in(arena, s.V, s.writes);
  x.scores = rows_in(arena, 2 * kChunk, s.writes), x.dscores = rows_in(arena, 2 * kChunk, s.writes);
  x.beta = arena.floats(kChunk);
  x.derror = rows_in(arena, kChunk, s.V);
  if (s.p.second_write) x.dvalues = rows_in(arena, kChunk, s.V);
  x.dread = rows_in(arena, 2 * kChunk, s.K);
  x.dwrite = rows_in(arena, s.writes, s.K), x.dwrite_turned = rows_in(arena, s.K, s.writes);
  x.dcolumn = arena.floats(s.K), x.anchor = arena.floats(s.K);
  x.dgates = arena.floats((kChunk + 1) * kLanes);
  if (kGate == kPerKey) x.dmiddle = rows_in(arena, s.K, s.V);
  if (!s.p.exchanged) return;
  x.read_turned = rows_in(arena, s.K, kChunk), x.scores_turned = rows_in(arena, kChunk, kChunk);
  x.output = rows_in(arena, kChunk, s.V), x.output_turned = rows_in(arena, s.V, kChunk);
}

FW_NAMESPACE_END
