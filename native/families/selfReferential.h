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
    // Of what there is for an input of y's own only.
    FW_LAYOUT int64_t own(int64_t size) const { return kOwnInput ? size : 0; }
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
        : x{on.row(l.D), on.row(l.D)}, xy{on.row(l.own(l.D)), on.row(l.own(l.D))}, key{on.row(l.D), on.row(l.D)},
          query(on.row(l.D)), change(on.row(l.D)), beta(on.row(4)), o(on.columns(l.V())),
          own(on.columns(l.own(l.V()))), update(on.columns(l.V())), error(on.columns(l.V())),
          ahead(on.columns(l.V())), own_ahead(on.columns(l.own(l.V()))), W(on.state(l.D, l.V())) {}
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
      on.aside(Engine::part(0, 4), [&](auto i) { m.beta[i] = on.sigmoid(on.beside(m.o, l.b, i)); });
      on.softmaxes(softmaxOf(key, m.o, l.k), softmaxOf(m.query, m.o, l.q));
      on.each(l.entries(), [&](auto i) { m.change[i] = m.query[i] - key[i]; });
      float* trace = a.trace.data ? a.trace + at.row(t, l.trace()) : nullptr;
      if (trace) on.save(put(trace, key), put(trace + D, m.query), put(trace + 2 * D, m.beta));
      if (t + 2 < T) {
        if constexpr (kOwnInput) on.begin(take(turn(m.x, t), x_of(t + 2)), take(turn(m.xy, t), xy_of(t + 2)));
        else on.begin(take(turn(m.x, t), x_of(t + 2)));
      }
      const bool last = t + 1 == T;
      const float overlap = last ? 0 : on.dot(key, next), own_overlap = last || !kOwnInput ? 0 : on.dot(key, own_next);
      if (last) {
        on.pass(m.W, add(key_before, m.update), read(m.change, m.error));
      } else if constexpr (kOwnInput) {
        on.pass(m.W, add(key_before, m.update), read(m.change, m.error), read(next, m.ahead));
        on.pass(m.W, read(own_next, m.own_ahead));
      } else {
        on.pass(m.W, add(key_before, m.update), read(m.change, m.error), read(next, m.ahead));
      }
      on.arrive();
      l.each_part([&](Part part, int j) {
        const float beta = m.beta(j);
        on.also(part, [&](auto i) {
          m.update[i] = beta * m.error[i];
          if (last) return;
          m.o[i] = m.ahead[i] + overlap * m.update[i];
          if constexpr (kOwnInput) m.own[i] = m.own_ahead[i] + own_overlap * m.update[i];
        });
      });
      on.meet();
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
    Row x[2], xy[2], key[2], query[2], beta[2], change, grad_x;
    Columns error[2], grad_o[2], grad_y[2], update, grad_error, grad_update;
    Sums over_key, over_change, over_x, over_xy;
    State W, G;
    FW_LAYOUT BackwardMemory(Engine& on, const Layout& l)
        : x{on.row(l.D), on.row(l.D)}, xy{on.row(l.own(l.D)), on.row(l.own(l.D))}, key{on.row(l.D), on.row(l.D)},
          query{on.row(l.D), on.row(l.D)}, beta{on.row(4), on.row(4)}, change(on.row(l.D)), grad_x(on.row(l.D)),
          error{on.columns(l.V()), on.columns(l.V())}, grad_o{on.columns(l.V()), on.columns(l.V())},
          grad_y{on.columns(l.own(l.V())), on.columns(l.own(l.V()))}, update(on.columns(l.V())),
          grad_error(on.columns(l.V())), grad_update(on.columns(l.V())), over_key(on.sums(l.D)),
          over_change(on.sums(l.D)), over_x(on.sums(l.D)), over_xy(on.sums(l.own(l.D))), W(on.state(l.D, l.V())),
          G(on.state(l.D, l.V())) {}
  };

  // From the last token to the first, undoing W_{t-1} = W_t - key update^T (no decay: spec 2.3.4); G is the gradient with
  // respect to W_t. What token t + 1 has yet to do to G waits for the sweep of token t, and its x reads W_t there.
  static FW_WORD void backward(Engine& on, BackwardMemory& m, const Layout& l, const BackwardArgs& a, const Track& at) {
    const int64_t D = l.D, Y = l.y.size, T = at.length;
    on.load(m.W, a.finalState + at.whole(l.size()), l.y, l.q, l.k, l.b);
    if (a.dfinalState.data) on.load(m.G, a.dfinalState + at.whole(l.size()), l.y, l.q, l.k, l.b);
    else on.clear(m.G);
    on.clear(m.grad_o[0]), on.clear(m.grad_o[1]), on.clear(m.grad_y[0]), on.clear(m.grad_y[1]);
    on.clear(m.error[0]), on.clear(m.error[1]), on.clear(m.grad_error), on.clear(m.change);
    on.clear(turn(m.x, T)), on.clear(turn(m.xy, T));

    // What token t has kept, and what it is given from outside: that waits with its gradients for the token before it.
    const auto begin_kept = [&](int64_t t) {
      const float* const trace = a.trace + at.row(t, l.trace());
      const float* const errors = trace + 2 * D + 4;
      const Columns error = turn(m.error, t);
      on.begin(take(turn(m.key, t), trace), take(turn(m.query, t), trace + D), take(turn(m.beta, t), trace + 2 * D),
               take(error, l.y, errors), take(error, l.q, errors + Y), take(error, l.k, errors + Y + D),
               take(error, l.b, errors + Y + 2 * D));
    };
    const auto begin_given = [&](int64_t t) {
      const float* const doutput = a.doutput + at.row(t, Y);
      on.begin(take(turn(m.x, t), a.x + at.row(t, D)), take(turn(kOwnInput ? m.grad_y : m.grad_o, t), l.y, doutput));
      if constexpr (kOwnInput) on.begin(take(turn(m.xy, t), a.inputY + at.row(t, D)));
    };
    const auto prepare = [&](int64_t t) {
      l.each_part([&](Part part, int j) {
        const float beta = turn(m.beta, t)(j);
        const Columns error = turn(m.error, t);
        on.also(part, [&](auto i) { m.update[i] = beta * error[i]; });
      });
    };
    // The gradient of a token's inputs, once W is the state that they read.
    const auto inputs = [&](int64_t t) {
      on.add_up(m.grad_x, m.over_x);
      on.save(a.dx + at.row(t, D), m.grad_x);
      if constexpr (kOwnInput) {
        on.add_up(m.grad_x, m.over_xy);
        on.save(a.dinputY + at.row(t, D), m.grad_x);
      }
    };
    if (T > 0) {
      begin_kept(T - 1), on.arrive(), on.meet();
      prepare(T - 1), on.meet();
    }
    for (int64_t t = T - 1; t >= 0; t--) {
      const Row key = turn(m.key, t), query = turn(m.query, t), beta = turn(m.beta, t);
      const Columns error = turn(m.error, t), grad_o = turn(m.grad_o, t), grad_o_after = turn(m.grad_o, t + 1);
      if (at.has(t - 1 - kAhead)) {
        const int64_t later = t - 1 - kAhead;
        on.ahead(a.trace + at.row(later, l.trace()), l.trace());
        on.ahead(a.x + at.row(later + 1, D), D), on.ahead(a.dx + at.row(later + 2, D), D);
        on.ahead(a.doutput + at.row(later + 1, Y), Y);
      }
      begin_given(t);
      if (t > 0) begin_kept(t - 1);
      if constexpr (kOwnInput) on.pass(m.G, add(turn(m.xy, t + 1), turn(m.grad_y, t + 1)));
      on.pass(m.G, add(m.change, m.grad_error), add(turn(m.x, t + 1), grad_o_after), read(key, m.grad_update),
              readAcross(m.update, m.over_key));
      l.each_part([&](Part part, int j) {
        const float strength = beta(j);
        on.also(part, [&](auto i) { m.grad_error[i] = strength * m.grad_update[i]; });
      });
      on.arrive(), on.meet();
      if constexpr (kOwnInput) on.pass(m.W, readAcross(turn(m.grad_y, t + 1), m.over_xy));
      on.pass(m.W, readAcross(grad_o_after, m.over_x), subtract(key, m.update), readAcross(m.grad_error, m.over_change));
      if (t + 1 < T) inputs(t + 1);
      l.each_part([&](Part part, int j) {
        const float slope = beta(j) * (1 - beta(j));
        on.fold(grad_o, l.b.begin + j, part, [&](auto i) { return slope * error[i] * m.grad_update[i]; });
      });
      on.also(l.entries(), [&](auto i) { m.change[i] = query[i] - key[i]; });
      if (t > 0) prepare(t - 1);
      on.softmaxes_back(softmaxBack(grad_o, l.k, key, m.over_key, m.over_change),
                        softmaxBack(grad_o, l.q, query, m.over_change));
    }
    if (T > 0) {
      on.pass(m.G, add(m.change, m.grad_error), add(m.x[0], m.grad_o[0]));
      on.pass(m.W, readAcross(m.grad_o[0], m.over_x));
      if constexpr (kOwnInput) {
        on.pass(m.G, add(m.xy[0], m.grad_y[0]));
        on.pass(m.W, readAcross(m.grad_y[0], m.over_xy));
      }
      inputs(0);
    }
    on.store(a.dinitialState + at.whole(l.size()), m.G, l.y, l.q, l.k, l.b);
  }
};

}  // namespace fw
