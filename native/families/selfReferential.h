// The self-referential weight matrix (Irie, Schlag, Csordas, Schmidhuber 2022; spec 2.5.1). Per head W [D, Y + 2 D + 4]
// with the columns of y, q, k and beta, all read before they are written:
//   [y, q, k, b] = W^T x      key = softmax(k)      query = softmax(q)      beta = sigmoid(b)
//   W += key (beta (W^T query - W^T key))^T         one beta for each of the four parts
// With an input of its own for y (Irie, Csordas, Schmidhuber 2023), y = W^T xY instead.
#pragma once
#include "track.h"

namespace fw {

template <class Engine, bool kOwnInput>
struct SelfReferential {
  using Row = typename Engine::Row;
  using Columns = typename Engine::Columns;
  using Sums = typename Engine::Sums;
  using State = typename Engine::State;
  using Part = typename Engine::Part;
  using Args = selfReferentialArgs;
  using BackwardArgs = selfReferentialBackwardArgs;

  struct Layout {
    int64_t D;
    Part y, q, k, b;
    template <class Call>
    FW_LAYOUT explicit Layout(const Call& a)
        : D(a.width), y(Engine::part(0, a.outputWidth)), q(Engine::part(y.end(), D)), k(Engine::part(q.end(), D)),
          b(Engine::part(k.end(), 4)) {}
    FW_LAYOUT int64_t V() const { return b.end(); }
    FW_LAYOUT Part entries() const { return Engine::part(0, D); }
    // Of W, and of what the backward pass finds for each token: key, query, beta and W^T query - W^T key.
    FW_LAYOUT int64_t size() const { return D * (y.size + 2 * D + 4); }
    FW_LAYOUT int64_t trace() const { return 2 * D + 4 + y.size + 2 * D + 4; }
    template <class F>
    FW_WORD void each_part(const F& f) const {
      f(y, 0), f(q, 1), f(k, 2), f(b, 3);
    }
  };

  struct Memory {
    Row x[2], xy[2], key[2], query, change, beta;
    Columns o, own, update, error, ahead, own_ahead;
    State W;
    FW_LAYOUT Memory(Engine& on, const Layout& l)
        : x{on.row(l.D), on.row(l.D)}, xy{on.row(l.D), on.row(l.D)}, key{on.row(l.D), on.row(l.D)},
          query(on.row(l.D)), change(on.row(l.D)), beta(on.row(4)), o(on.columns(l.V())), own(on.columns(l.V())),
          update(on.columns(l.V())), error(on.columns(l.V())), ahead(on.columns(l.V())),
          own_ahead(on.columns(l.V())), W(on.state(l.D, l.V())) {}
  };

  // One sweep a token: what the next token reads is read from the state before this token's write, and
  // W_t^T x' = W_{t-1}^T x' + (key . x') update makes up for it.
  static FW_WORD void forward(Engine& on, Memory& m, const Layout& l, const Args& a, const Track& at) {
    const int64_t D = l.D, Y = l.y.size, T = at.length;
    const auto x_of = [&](int64_t t) { return a.x + at.row(t, D); };
    const auto xy_of = [&](int64_t t) { return a.inputY + at.row(t, D); };
    on.load(m.W, a.initialState + at.whole(l.size()), l.y, l.q, l.k, l.b);
    if (T > 0) {
      on.fetch(m.x[0], x_of(0));
      on.clear(m.update), on.clear(m.key[1]);  // nothing waits to be written yet
      on.pass(m.W, read(m.x[0], m.o));
      if (T > 1) on.fetch(m.x[1], x_of(1));
      if constexpr (kOwnInput) {
        on.fetch(m.xy[0], xy_of(0));
        on.pass(m.W, read(m.xy[0], m.own));
        if (T > 1) on.fetch(m.xy[1], xy_of(1));
      }
    }
    for (int64_t t = 0; t < T; t++) {
      const Row key = turn(m.key, t), key_before = turn(m.key, t + 1);
      const Row next = turn(m.x, t + 1), own_next = turn(m.xy, t + 1);
      if (at.has(t + 2 + kAhead)) on.ahead(x_of(t + 2 + kAhead), D);
      if (at.has(t + kAhead)) {
        on.ahead(a.output + at.row(t + kAhead, Y), Y);
        if (a.trace.data) on.ahead(a.trace + at.row(t + kAhead, l.trace()), l.trace());
      }
      on.save(a.output + at.row(t, Y), kOwnInput ? m.own : m.o, l.y);
      on.softmaxes(m.o, key, l.k, m.query, l.q);
      on.each(l.entries(), [&](auto i) { m.change[i] = m.query[i] - key[i]; });
      on.each(Engine::part(0, 4), [&](auto i) { m.beta[i] = on.sigmoid(on.beside(m.o, l.b, i)); });
      float* trace = a.trace.data ? a.trace + at.row(t, l.trace()) : nullptr;
      if (trace) on.save(put(trace, key), put(trace + D, m.query), put(trace + 2 * D, m.beta));
      if (t + 2 < T) {
        if constexpr (kOwnInput) on.fetch(take(turn(m.x, t), x_of(t + 2)), take(turn(m.xy, t), xy_of(t + 2)));
        else on.fetch(turn(m.x, t), x_of(t + 2));
      }
      const bool last = t + 1 == T;
      if (last) {
        on.pass(m.W, add(key_before, m.update), read(m.change, m.error));
      } else if constexpr (kOwnInput) {
        on.pass(m.W, add(key_before, m.update), read(m.change, m.error), read(next, m.ahead));
        on.pass(m.W, read(own_next, m.own_ahead));
      } else {
        on.pass(m.W, add(key_before, m.update), read(m.change, m.error), read(next, m.ahead));
      }
      const float overlap = last ? 0 : on.dot(key, next), own_overlap = last || !kOwnInput ? 0 : on.dot(key, own_next);
      l.each_part([&](Part part, int j) {
        const float beta = m.beta(j);
        on.each(part, [&](auto i) {
          m.update[i] = beta * m.error[i];
          if (last) return;
          m.o[i] = m.ahead[i] + overlap * m.update[i];
          if constexpr (kOwnInput) m.own[i] = m.own_ahead[i] + own_overlap * m.update[i];
        });
      });
      if (trace) {
        float* const errors = trace + 2 * D + 4;
        on.save(put(errors, m.error, l.y), put(errors + Y, m.error, l.q), put(errors + Y + D, m.error, l.k),
                put(errors + Y + 2 * D, m.error, l.b));
      }
    }
    if (T > 0) on.pass(m.W, add(turn(m.key, T - 1), m.update));
    on.store(a.finalState + at.whole(l.size()), m.W, l.y, l.q, l.k, l.b);
  }

  struct BackwardMemory {
    Row x[2], xy[2], key, query, beta, change, grad_key, grad_query, grad_beta, grad_x, grad_xy;
    Columns grad_o, grad_y, update, error, grad_error, grad_update;
    Sums over_key, over_change, over_x, over_xy, over_beta;
    State W, G;
    FW_LAYOUT BackwardMemory(Engine& on, const Layout& l)
        : x{on.row(l.D), on.row(l.D)}, xy{on.row(l.D), on.row(l.D)}, key(on.row(l.D)), query(on.row(l.D)),
          beta(on.row(4)), change(on.row(l.D)), grad_key(on.row(l.D)), grad_query(on.row(l.D)), grad_beta(on.row(4)),
          grad_x(on.row(l.D)), grad_xy(on.row(l.D)), grad_o(on.columns(l.V())), grad_y(on.columns(l.V())),
          update(on.columns(l.V())), error(on.columns(l.V())), grad_error(on.columns(l.V())),
          grad_update(on.columns(l.V())), over_key(on.sums(l.D)), over_change(on.sums(l.D)), over_x(on.sums(l.D)),
          over_xy(on.sums(l.D)), over_beta(on.sums(4)), W(on.state(l.D, l.V())), G(on.state(l.D, l.V())) {}
  };

  // From the last token to the first, undoing W_{t-1} = W_t - key update^T (no decay: spec 2.3.4); G is the gradient with
  // respect to W_t. What token t + 1 has yet to do to G waits for the sweep of token t, and its x reads W_t there.
  static FW_WORD void backward(Engine& on, BackwardMemory& m, const Layout& l, const BackwardArgs& a, const Track& at) {
    const int64_t D = l.D, Y = l.y.size, T = at.length;
    on.load(m.W, a.finalState + at.whole(l.size()), l.y, l.q, l.k, l.b);
    if (a.dfinalState.data) on.load(m.G, a.dfinalState + at.whole(l.size()), l.y, l.q, l.k, l.b);
    else on.clear(m.G);
    on.clear(m.grad_o), on.clear(m.grad_y), on.clear(m.grad_error), on.clear(m.change), on.clear(m.error);
    on.clear(turn(m.x, T)), on.clear(turn(m.xy, T));

    // The gradient of a token's inputs, once W is the state that they read.
    const auto inputs = [&](int64_t t) {
      on.add_up(m.grad_x, m.over_x);
      on.save(a.dx + at.row(t, D), m.grad_x);
      if constexpr (kOwnInput) {
        on.add_up(m.grad_xy, m.over_xy);
        on.save(a.dinputY + at.row(t, D), m.grad_xy);
      }
    };
    for (int64_t t = T - 1; t >= 0; t--) {
      const Row x = turn(m.x, t), xy = turn(m.xy, t), x_after = turn(m.x, t + 1), xy_after = turn(m.xy, t + 1);
      const float* trace = a.trace + at.row(t, l.trace());
      if (at.has(t - kAhead)) {
        on.ahead(a.trace + at.row(t - kAhead, l.trace()), l.trace());
        on.ahead(a.x + at.row(t - kAhead, D), D), on.ahead(a.dx + at.row(t - kAhead, D), D);
        on.ahead(a.doutput + at.row(t - kAhead, Y), Y);
      }
      const float* const errors = trace + 2 * D + 4;
      on.fetch(take(m.key, trace), take(m.query, trace + D), take(m.beta, trace + 2 * D), take(m.error, l.y, errors),
               take(m.error, l.q, errors + Y), take(m.error, l.k, errors + Y + D),
               take(m.error, l.b, errors + Y + 2 * D), take(x, a.x + at.row(t, D)));
      if constexpr (kOwnInput) on.fetch(xy, a.inputY + at.row(t, D));
      l.each_part([&](Part part, int j) {
        const float beta = m.beta(j);
        on.each(part, [&](auto i) { m.update[i] = beta * m.error[i]; });
      });
      if constexpr (kOwnInput) on.pass(m.G, add(xy_after, m.grad_y));
      on.pass(m.G, add(m.change, m.grad_error), add(x_after, m.grad_o), read(m.key, m.grad_update),
              readAcross(m.update, m.over_key));
      l.each_part([&](Part part, int j) {
        const float beta = m.beta(j);
        on.each(part, [&](auto i) { m.grad_error[i] = beta * m.grad_update[i]; });
        on.fold(m.over_beta, j, part, [&](auto i) { return m.error[i] * m.grad_update[i]; });
      });
      if constexpr (kOwnInput) on.pass(m.W, readAcross(m.grad_y, m.over_xy));
      on.pass(m.W, readAcross(m.grad_o, m.over_x), subtract(m.key, m.update), readAcross(m.grad_error, m.over_change));
      if (t + 1 < T) inputs(t + 1);
      on.add_up(m.grad_key, m.over_key), on.add_up(m.grad_query, m.over_change), on.add_up(m.grad_beta, m.over_beta);
      on.each(l.entries(), [&](auto i) {
        m.change[i] = m.query[i] - m.key[i];
        m.grad_key[i] = m.grad_key[i] - m.grad_query[i];
      });
      on.softmax_back(m.grad_key, m.key);
      on.softmax_back(m.grad_query, m.query);
      on.each(Engine::part(0, 4), [&](auto i) { m.grad_beta[i] = m.grad_beta[i] * m.beta[i] * (1 - m.beta[i]); });
      on.fetch(kOwnInput ? m.grad_y : m.grad_o, l.y, a.doutput + at.row(t, Y));
      on.share(m.grad_o, l.q, m.grad_query), on.share(m.grad_o, l.k, m.grad_key), on.share(m.grad_o, l.b, m.grad_beta);
    }
    if (T > 0) {
      on.pass(m.G, add(m.change, m.grad_error), add(m.x[0], m.grad_o));
      on.pass(m.W, readAcross(m.grad_o, m.over_x));
      if constexpr (kOwnInput) {
        on.pass(m.G, add(m.xy[0], m.grad_y));
        on.pass(m.W, readAcross(m.grad_y, m.over_xy));
      }
      inputs(0);
    }
    on.store(a.dinitialState + at.whole(l.size()), m.G, l.y, l.q, l.k, l.b);
  }
};

}  // namespace fw
