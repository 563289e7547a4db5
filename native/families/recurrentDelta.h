// The Recurrent Delta Net (Irie, Schlag, Csordas, Schmidhuber 2021; spec 2.4.3): a delta memory W [D, D] whose value, key,
// query and strength also depend on its last output through trained matrices R [D, 3 D + 1]:
//   h = tanh(y_{t-1})      [v, k, q, b] = inputs + R^T h      key = softmax(k)   query = softmax(q)   beta = sigmoid(b)
//   W += key (beta (v - W^T key))^T      y = W^T query
#pragma once
#include "track.h"

namespace fw {

template <class Engine>
struct RecurrentDelta {
  using Row = typename Engine::Row;
  using Columns = typename Engine::Columns;
  using Sums = typename Engine::Sums;
  using State = typename Engine::State;
  using Part = typename Engine::Part;
  using Args = recurrentDeltaArgs;
  using BackwardArgs = recurrentDeltaBackwardArgs;

  // The columns of R and of the inputs; v comes first, so that its columns are those of W.
  struct Layout {
    int64_t D;
    Part v, k, q, b;
    template <class Call>
    FW_LAYOUT explicit Layout(const Call& a)
        : D(a.width), v(Engine::part(0, D)), k(Engine::part(v.end(), D)), q(Engine::part(k.end(), D)),
          b(Engine::part(q.end(), 1)) {}
    FW_LAYOUT int64_t V() const { return b.end(); }
    FW_LAYOUT int64_t inputs() const { return 3 * D + 1; }
    FW_LAYOUT Part all() const { return Engine::part(0, V()); }
    // key, query, the error v - W^T key, and beta.
    FW_LAYOUT int64_t trace() const { return 3 * D + 1; }
  };

  struct Memory {
    Row key[2], query, h, beta;
    Columns input, z, update, recalled, y;
    State R, W;
    FW_LAYOUT Memory(Engine& on, const Layout& l)
        : key{on.row(l.D), on.row(l.D)}, query(on.row(l.D)), h(on.row(l.D)), beta(on.row(1)), input(on.columns(l.V())),
          z(on.columns(l.V())), update(on.columns(l.D)), recalled(on.columns(l.D)), y(on.columns(l.D)),
          R(on.state(l.D, l.V())), W(on.state(l.D, l.D)) {}
  };

  // One sweep a token over each matrix: W waits for the last token's write, and what the query reads of this token's write
  // is (key . query) update.
  static FW_WORD void forward(Engine& on, Memory& m, const Layout& l, const Args& a, const Track& at) {
    const int64_t D = l.D, T = at.length;
    on.load(m.R, a.recurrent + at.head * D * l.inputs(), l.v, l.k, l.q, l.b);
    on.load(m.W, a.initialState + at.whole(D * D), l.v);
    on.fetch(m.y, l.v, a.initialOutput + at.whole(D));
    on.each(l.v, [&](auto i) { m.h[i] = on.tanh(m.y[i]); });
    on.clear(m.update), on.clear(m.key[1]), on.clear(m.input);
    for (int64_t t = 0; t < T; t++) {
      const Row key = turn(m.key, t), key_before = turn(m.key, t + 1);
      const float* const inputs = a.inputs + at.row(t, l.inputs());
      on.fetch(take(m.input, l.v, inputs), take(m.input, l.k, inputs + D), take(m.input, l.q, inputs + 2 * D),
               take(m.input, l.b, inputs + 3 * D));
      if (at.has(t + kAhead)) {
        on.ahead(a.inputs + at.row(t + kAhead, l.inputs()), l.inputs());
        on.ahead(a.output + at.row(t + kAhead, D), D);
        if (a.hidden.data) on.ahead(a.hidden + at.row(t + kAhead, D), D);
        if (a.trace.data) on.ahead(a.trace + at.row(t + kAhead, l.trace()), l.trace());
      }
      if (a.hidden.data) on.save(a.hidden + at.row(t, D), m.h);
      on.pass(m.R, read(m.h, m.z));
      on.each(l.all(), [&](auto i) { m.z[i] = m.z[i] + m.input[i]; });
      on.softmaxes(m.z, key, l.k, m.query, l.q);
      on.each(Engine::part(0, 1), [&](auto i) { m.beta[i] = on.sigmoid(on.beside(m.z, l.b, i)); });
      on.pass(m.W, add(key_before, m.update), read(key, m.recalled), read(m.query, m.y));
      const float overlap = on.dot(key, m.query), beta = m.beta(0);
      on.each(l.v, [&](auto i) {
        m.recalled[i] = m.z[i] - m.recalled[i];
        m.update[i] = beta * m.recalled[i];
        m.y[i] = m.y[i] + overlap * m.update[i];
      });
      on.save(a.output + at.row(t, D), m.y, l.v);
      if (a.trace.data) {
        float* trace = a.trace + at.row(t, l.trace());
        on.save(put(trace, key), put(trace + D, m.query), put(trace + 2 * D, m.recalled, l.v),
                put(trace + 3 * D, m.beta));
      }
      on.each(l.v, [&](auto i) { m.h[i] = on.tanh(m.y[i]); });
    }
    if (T > 0) on.pass(m.W, add(turn(m.key, T - 1), m.update));
    on.save(a.finalOutput + at.whole(D), m.y, l.v);
    on.store(a.finalState + at.whole(D * D), m.W, l.v);
  }

  struct BackwardMemory {
    Row key, query, h, beta, grad_key, grad_query, grad_beta, grad_h;
    Columns grad_y, grad_z, update, error, grad_update;
    Sums over_key, over_query, over_error, over_h, over_beta;
    State R, W, G;
    FW_LAYOUT BackwardMemory(Engine& on, const Layout& l)
        : key(on.row(l.D)), query(on.row(l.D)), h(on.row(l.D)), beta(on.row(1)), grad_key(on.row(l.D)),
          grad_query(on.row(l.D)), grad_beta(on.row(1)), grad_h(on.row(l.D)), grad_y(on.columns(l.D)),
          grad_z(on.columns(l.V())), update(on.columns(l.D)), error(on.columns(l.D)), grad_update(on.columns(l.D)),
          over_key(on.sums(l.D)), over_query(on.sums(l.D)), over_error(on.sums(l.D)), over_h(on.sums(l.D)),
          over_beta(on.sums(1)), R(on.state(l.D, l.V())), W(on.state(l.D, l.D)), G(on.state(l.D, l.D)) {}
  };

  // From the last token to the first, undoing W_{t-1} = W_t - key update^T; G is the gradient with respect to W_t. That of
  // R is a product of `hidden` with dinputs, taken outside.
  static FW_WORD void backward(Engine& on, BackwardMemory& m, const Layout& l, const BackwardArgs& a, const Track& at) {
    const int64_t D = l.D, T = at.length;
    on.load(m.R, a.recurrent + at.head * D * l.inputs(), l.v, l.k, l.q, l.b);
    on.load(m.W, a.finalState + at.whole(D * D), l.v);
    if (a.dfinalState.data) on.load(m.G, a.dfinalState + at.whole(D * D), l.v);
    else on.clear(m.G);
    on.fetch(m.grad_h, a.dfinalOutput + at.whole(D));
    on.clear(m.error), on.clear(m.grad_z);
    for (int64_t t = T - 1; t >= 0; t--) {
      const float* trace = a.trace + at.row(t, l.trace());
      if (at.has(t - kAhead)) {
        on.ahead(a.trace + at.row(t - kAhead, l.trace()), l.trace());
        on.ahead(a.hidden + at.row(t - kAhead, D), D), on.ahead(a.doutput + at.row(t - kAhead, D), D);
        on.ahead(a.dinputs + at.row(t - kAhead, l.inputs()), l.inputs());
      }
      on.fetch(take(m.key, trace), take(m.query, trace + D), take(m.error, l.v, trace + 2 * D),
               take(m.beta, trace + 3 * D), take(m.h, a.hidden + at.row(t, D)),
               take(m.grad_y, l.v, a.doutput + at.row(t, D)));
      const float beta = m.beta(0);
      on.each(l.v, [&](auto i) {
        m.grad_y[i] = m.grad_y[i] + m.grad_h[i];
        m.update[i] = beta * m.error[i];
      });
      on.pass(m.G, add(m.query, m.grad_y), read(m.key, m.grad_update), readAcross(m.update, m.over_key));
      on.fold(m.over_beta, 0, l.v, [&](auto i) { return m.error[i] * m.grad_update[i]; });
      on.each(l.v, [&](auto i) { m.grad_z[i] = beta * m.grad_update[i]; });
      on.pass(m.W, readAcross(m.grad_y, m.over_query), subtract(m.key, m.update), readAcross(m.grad_z, m.over_error));
      on.pass(m.G, subtract(m.key, m.grad_z));
      on.add_up(m.grad_key, m.over_key), on.add_up(m.grad_query, m.over_query), on.add_up(m.grad_h, m.over_error);
      on.add_up(m.grad_beta, m.over_beta);
      on.each(l.v, [&](auto i) { m.grad_key[i] = m.grad_key[i] - m.grad_h[i]; });
      on.softmax_back(m.grad_key, m.key);
      on.softmax_back(m.grad_query, m.query);
      on.each(Engine::part(0, 1), [&](auto i) { m.grad_beta[i] = m.grad_beta[i] * m.beta[i] * (1 - m.beta[i]); });
      on.share(m.grad_z, l.k, m.grad_key), on.share(m.grad_z, l.q, m.grad_query), on.share(m.grad_z, l.b, m.grad_beta);
      float* const dinputs = a.dinputs + at.row(t, l.inputs());
      on.save(put(dinputs, m.grad_z, l.v), put(dinputs + D, m.grad_z, l.k), put(dinputs + 2 * D, m.grad_z, l.q),
              put(dinputs + 3 * D, m.grad_z, l.b));
      on.pass(m.R, readAcross(m.grad_z, m.over_h));
      on.add_up(m.grad_h, m.over_h);
      on.each(l.v, [&](auto i) { m.grad_h[i] = m.grad_h[i] * (1 - m.h[i] * m.h[i]); });
    }
    on.save(a.dinitialOutput + at.whole(D), m.grad_h);
    on.store(a.dinitialState + at.whole(D * D), m.G, l.v);
  }
};

}  // namespace fw
