// The recurrence forward: sequences x heads (and, where those are too few, blocks of the value dimension) in parallel;
// within each, stages of some 32 tokens whose keys and queries are laid out once for all blocks of values.
#include "stage_tokens.h"
#include "sweep_column.h"
#include "sweep_gated.h"
#include "turned.h"

FW_NAMESPACE_BEGIN

static constexpr int64_t kBlock = 2 * kLanes;  // values per block

// Tokens per sweep. More make fewer loads and stores of the state per token, as long as their sums, what they write and
// a row of the state fit in the registers: 32 of them, else 16.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kGroup = 3;
#else
constexpr int kGroup = 2;
#endif

template <bool kScaled>
using Plain = Rule<kGroup, kPlain, false, kScaled>;
template <bool kScaled>
using Erasing = Rule<kGroup, kPlainErase, false, kScaled>;
using Twice = Rule<2, kUndecayedTwice, true, false>;
template <int kTokens, bool kSecond>
using General = Rule<kTokens, kGeneral, kSecond, true>;
using ValueGated = Rule<kGroup, kPlain, false, false, true>;

// Tokens per stage: their keys and queries should leave room for the state block in the first-level cache.
template <int C>
static int64_t tokens_per_stage(int64_t K) {
  return round_up(K <= 128 ? 32 : 16, C);
}

// The value of a normaliser.
constexpr float kUnit = 1;

// Values [from, to) of one head of one sequence; `from` is a multiple of kBlock. p.exchanged says that p is turned over
// and the state in memory is not (turned.h). A normaliser is a block of its own and the first, since the others are
// divided by what is read of it; who has the first values leaves it in memory.
template <class Rule>
static void forward_head(const Context& cx, const recurrenceArgs& args, const Problem& p, const Sequence& sequence,
                         int64_t n, int64_t h, int64_t from, int64_t to) {
  constexpr int C = Rule::kTokens;
  constexpr bool kGated = Rule::kValueGate, kColumn = Rule::kForm == kPlain && !kGated;
  const int64_t K = p.K, V = p.V, capacity = tokens_per_stage<C>(K), units = p.max ? 1 : 0;
  const int64_t blocks = units + (to - from + kBlock - 1) / kBlock;
  Arena count(nullptr);
  lay_out_stage<C>(count, p, capacity);
  if (kGated) count.floats(capacity * blocks * kBlock);
  Arena arena(cx.scratch(0, count.used));
  Stage stage = lay_out_stage<C>(arena, p, capacity);
  float* decays = kGated ? arena.floats(capacity * blocks * kBlock) : nullptr;
  start_stages<C>(stage);
  const auto stage_operands = p.gate_width > 1 ? stage_tokens<C, Rule::kForm, true> : stage_tokens<C, Rule::kForm, false>;
  const int64_t state_size = K * kBlock, pending_size = 2 * C * kBlock;
  float* states = static_cast<float*>(cx.scratch(1, blocks * (state_size + pending_size) * 4));
  float* edge = static_cast<float*>(cx.scratch(2, 4 * capacity * kBlock * 4));  // rows of a block that V does not fill

  struct Values {
    int64_t from, width, lanes;  // lanes 1: a single value, whose lanes are keys
    float *state, *pending, *carried;
    bool unit, kept;
  };
  auto block_at = [&](int64_t b) {
    const bool unit = b < units;
    const int64_t start = unit ? p.values : from + (b - units) * kBlock, width = unit ? 1 : least(kBlock, to - start);
    float* pending = states + blocks * state_size + b * pending_size;  // its second half is that of a second write
    const int64_t lanes = kColumn && width == 1 ? 1 : width <= kLanes ? int64_t(kLanes) : kBlock;
    float* carried = kGated ? pending + C * kBlock : nullptr;
    return Values{start, width, lanes, states + b * state_size, pending, carried, unit, !unit || from == 0};
  };
  auto save = [&](float* to_state) {
    for (int64_t b = 0; b < blocks; b++) {
      const Values part = block_at(b);
      float* to = to_state + part.from * (p.exchanged ? K : 1);
      if (part.lanes == 1) {
        settle_column<C>(stage, part.state, part.pending);
        for (int64_t i = 0; part.kept && i < K; i++) to[i * (p.exchanged ? 1 : V)] = part.state[i];
        continue;
      }
      if (part.lanes == kBlock) {
        settle_block<Rule, 2>(stage, K, part.state, part.pending);
      } else {
        settle_block<Rule, 1>(stage, K, part.state, part.pending);
      }
      if (kGated) settle_values(part.state, K, part.lanes, part.carried);
      if (!part.kept) continue;
      if (p.exchanged) {
        unstage_turned(to, K, part.state, part.lanes, K, part.width);
      } else {
        unstage_rows(to, V, part.state, part.lanes, K, part.width);
      }
    }
    start_stages<C>(stage);
  };

  const Head x = head_of(p, h);
  const int64_t state_at = (n * p.heads + h) * K * V;
  const bool writes = args.written.data && !p.exchanged;
  for (int64_t b = 0; b < blocks; b++) {
    const Values part = block_at(b);
    zero_row(part.pending, pending_size);
    for (int64_t i = 0; kGated && i < part.lanes; i += kLanes) store(part.carried + i, splat(1));
    memset(part.state, 0, static_cast<size_t>(state_size * 4));
    if (!args.initialState.data) continue;
    const float* initial = args.initialState + state_at + part.from * (p.exchanged ? K : 1);
    if (part.lanes == 1) {
      for (int64_t i = 0; i < K; i++) part.state[i] = initial[i * (p.exchanged ? 1 : V)];
    } else if (p.exchanged) {
      stage_turned(part.state, part.lanes, initial, K, K, part.width);
    } else {
      stage_rows(part.state, part.lanes, initial, V, K, part.width);
    }
  }

  int64_t tokens = 0;
  for (int64_t t = 0; t < sequence.length; t += tokens) {
    const int64_t every = args.checkpointEvery, at = sequence.begin + t;
    if (args.states.data && t % every == 0)
      save(args.states + ((sequence.checkpoint + t / every) * p.heads + h) * K * V);
    tokens = least(capacity, sequence.length - t);
    if (args.states.data) tokens = least(tokens, every - t % every);
    stage_operands(p, x, stage, at, tokens);
    stage_scalars<C>(p, x, stage, at, tokens);
    if (kGated) stage_value_decays(decays, blocks * kBlock, x.gate, at, tokens, from, to - from);
    if (p.exchanged && args.written.data && from == 0)
      write_turned(args.written + (at * p.heads + h) * K, p.heads * K, x.k[at], p.k.token, stage.beta, tokens, K);
    for (int64_t b = 0; b < blocks; b++) {
      const Values part = block_at(b);
      ValueBlock block{};
      block.state = part.state, block.pending = part.pending;
      block.v = part.unit ? TokenRows{&kUnit, 0} : TokenRows{x.v[at] + part.from, p.v.token};
      if (p.beta_width > 1) block.beta = {x.beta[at] + part.from, p.beta.token};
      if (kGated)
        block.decays = {decays + b * kBlock, blocks * kBlock}, block.carried = part.carried;
      const Rows output = part.unit ? Rows{stage.sums, 1}
                                    : Rows{args.output + (at * p.heads + h) * p.values + part.from, p.heads * p.values};
      Rows written;
      if (writes && part.kept) written = {args.written + (at * p.heads + h) * V + part.from, p.heads * V};
      block.output = output, block.written = written;
      if (part.width < part.lanes) {
        float* rows = edge;
        auto piece = [&] {
          float* start = rows;
          rows += capacity * kBlock;
          return start;
        };
        block.output = {piece(), part.lanes};
        if (written.data) block.written = {piece(), part.lanes};
        TokenRows* const operands[] = {&block.v, &block.beta};
        for (TokenRows* x : operands) {
          if (!x->data) continue;
          float* staged = piece();
          stage_rows(staged, part.lanes, x->data, x->stride, tokens, part.width);
          *x = {staged, part.lanes};
        }
      }
      // Each block fetches its share of what is read and written `capacity` tokens later.
      RowsAhead ahead, share;
      share.tokens = least(tokens, sequence.length - t - capacity);
      if (share.tokens > 0) {
        const int64_t next = at + capacity;
        ahead.add(x.k[next], p.k.token, K);
        ahead.add(x.q[next], p.q.token, K);
        ahead.add(x.v[next] + from, p.v.token, to - from);
        ahead.add(args.output + (next * p.heads + h) * p.values + from, p.heads * p.values, to - from);
        if (p.gate_width > 1) ahead.add(x.gate[next], p.gate.token, K);
        if (x.erase_key.data != x.k.data) ahead.add(x.erase_key[next], p.erase_key.token, K);
        if (x.write_key.data != x.k.data) ahead.add(x.write_key[next], p.write_key.token, K);
        if (kGated) ahead.add(x.gate[next] + from, p.gate.token, to - from);
        if (writes) ahead.add(args.written + (next * p.heads + h) * V + from, p.heads * V, to - from);
        if (args.states.data) {
          const int64_t next_checkpoint = sequence.checkpoint + t / every + 1, each = (K * V + every - 1) / every;
          ahead.add(args.states + (next_checkpoint * p.heads + h) * K * V + t % every * each, each, each);
        }
      }
      for (int i = 0; i < ahead.count; i++)
        if (i % blocks == b) share.rows[share.count++] = ahead.rows[i];
      const auto run = [&](auto vectors) {
        if constexpr (kGated) {
          run_gated_block<C, vectors>(stage, K, tokens, block, share);
        } else {
          run_block<Rule, vectors>(stage, K, tokens, block, share);
        }
      };
      if (part.lanes == 1) {
        run_column<C>(stage, tokens, block, edge, share);
      } else if (part.lanes == kBlock) {
        run(Index<2>());
      } else {
        run(Index<1>());
      }
      if (part.width < part.lanes) {
        unstage_rows(output.data, output.stride, block.output.data, part.lanes, tokens, part.width);
        if (written.data)
          unstage_rows(written.data, written.stride, block.written.data, part.lanes, tokens, part.width);
      }
      if (!part.unit) continue;
      if (part.kept)
        for (int64_t c = 0; c < tokens; c++) args.sums[(at + c) * p.heads + h] = stage.sums[c];
      divide_reads<C>(p, stage, h, at, tokens);
    }
    keep_last_group<C>(stage, (tokens + C - 1) / C);
  }
  if (args.finalState.data) save(args.finalState + state_at);
}

// The exchanged rule (Oja) reads the state along its last dimension, so that every row ends in a sum over lanes.
static void forward_exchanged(const Context& cx, const recurrenceArgs& args, const Problem& p, const Sequence& sequence,
                              int64_t n, int64_t h) {
  const int64_t K = p.K, V = p.V, rows = round_up(K, kLanes), columns = round_up(V, kLanes);
  float* state = static_cast<float*>(cx.scratch(0, rows * columns * 4));
  Arena arena(cx.scratch(1, (rows * (4 + kLanes) + columns * 4) * 4 + 1024));
  float *decay = arena.floats(rows), *erase = arena.floats(rows), *write = arena.floats(rows);
  float *read = arena.floats(rows), *parts = arena.floats(rows * kLanes);
  float *q = arena.floats(columns), *r = arena.floats(columns), *v = arena.floats(columns);
  float* beta = arena.floats(columns);
  const Head x = head_of(p, h);
  const int64_t state_at = (n * p.heads + h) * K * V;
  memset(state, 0, static_cast<size_t>(rows * columns * 4));
  memset(parts, 0, static_cast<size_t>(rows * kLanes * 4));
  if (args.initialState.data) stage_rows(state, columns, args.initialState + state_at, V, K, V);
  for (int64_t t = 0; t < sequence.length; t++) {
    const int64_t every = args.checkpointEvery, at = sequence.begin + t;
    if (args.states.data && t % every == 0)
      unstage_rows(args.states + ((sequence.checkpoint + t / every) * p.heads + h) * K * V, V, state, columns, K, V);
    stage_row(q, x.q[at], V, columns, p.scale);
    stage_row(v, x.v[at], V, columns);
    stage_row(write, x.write_key[at], K, rows);
    stage_row(erase, x.erase_key[at], K, rows, p.erase ? 1 : 0);
    if (p.beta_width > 1) stage_row(beta, x.beta[at], V, columns);
    const float* gate = p.gate_width ? x.gate[at] : nullptr;
    for (int64_t i = 0; i < rows; i += kLanes) {
      const Vec d = p.gate_width == 0 ? splat(1) : vexp(p.gate_width == 1 ? splat(gate[0]) : load_row(gate, i, K));
      store(decay + i, d);
      if (!p.undecayed) store(erase + i, load(erase + i) * d);
    }
    const Vec one_beta = splat(p.beta_width == 1 ? x.beta[at][0] : 1);
    for (int64_t j = 0; j < columns; j += kLanes) {
      Vec a{}, a2{};
      int64_t i = 0;
      for (; p.erase && i + 2 <= K; i += 2) {
        a = fma(load(state + i * columns + j), splat(erase[i]), a);
        a2 = fma(load(state + (i + 1) * columns + j), splat(erase[i + 1]), a2);
      }
      if (p.erase && i < K) a = fma(load(state + i * columns + j), splat(erase[i]), a);
      store(r + j, (load(v + j) - (a + a2)) * (p.beta_width > 1 ? load(beta + j) : one_beta));
    }
    for (int64_t i = 0; i < K; i++) {
      const Vec d = splat(decay[i]), w = splat(write[i]);
      Vec y{};
      for (int64_t j = 0; j < columns; j += kLanes) {
        float* s = state + i * columns + j;
        const Vec x = fma(load(r + j), w, load(s) * d);
        store(s, x);
        y = fma(x, load(q + j), y);
      }
      store(parts + i * kLanes, y);
    }
    sum_vectors(read, parts, rows);
    float* output = args.output + (at * p.heads + h) * K;
    unstage_rows(output, K, read, rows, 1, K);
    if (args.written.data) unstage_rows(args.written + (at * p.heads + h) * V, V, r, columns, 1, V);
  }
  if (args.finalState.data) unstage_rows(args.finalState + state_at, V, state, columns, K, V);
}

void recurrence(const Context& cx, const recurrenceArgs& args) {
  const Problem given = decode_sequences(args);
  const bool turned = !args.recurrent && turns(given), by_token = given.exchanged && !turned;
  const Problem p = turned ? turn(given) : given;
  const Sequences sequences(cx, args);
  // Blocks of values are independent of each other, so that splitting them changes no bit.
  const int64_t heads = p.sequences * p.heads, blocks = (p.values + kBlock - 1) / kBlock;
  int64_t parts = 1;
  while (!by_token && heads * parts < cx.threads && parts < blocks) parts *= 2;
  const int64_t width = (blocks + parts - 1) / parts * kBlock;
  parallel(cx, heads * parts, [&](int64_t task) {
    const int64_t n = task / parts / p.heads, h = task / parts % p.heads, from = task % parts * width;
    if (from > 0 && from >= p.values) return;
    const Sequence sequence = sequences.at(n);
    const bool plain = !args.recurrent && !p.second_write && !p.read_before && !p.undecayed;
    if (by_token) return forward_exchanged(cx, args, p, sequence, n, h);
    const bool scaled = p.gate_width == 1 || p.max, gated = turned && given.gate_width > 1;
    const bool twice = !args.recurrent && p.second_write && p.undecayed && !p.read_before && !p.bonus && !scaled;
    const auto forward = gated              ? forward_head<ValueGated>
                         : plain && p.erase ? (scaled ? forward_head<Erasing<true>> : forward_head<Erasing<false>>)
                         : plain            ? (scaled ? forward_head<Plain<true>> : forward_head<Plain<false>>)
                         : twice            ? forward_head<Twice>
                         : args.recurrent   ? (p.second_write ? forward_head<General<1, true>>
                                                              : forward_head<General<1, false>>)
                         : p.second_write   ? forward_head<General<2, true>>
                                            : forward_head<General<2, false>>;
    forward(cx, args, p, sequence, n, h, from, least(p.values, from + width));
  });
}

FW_NAMESPACE_END
