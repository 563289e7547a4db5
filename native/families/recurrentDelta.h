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
  using Held = typename Engine::Held;
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
    Columns z[2], update, recalled, y;
    State R;
    Held W;
    FW_LAYOUT Memory(Engine& on, const Layout& l)
        : key{on.row(l.D), on.row(l.D)}, query(on.row(l.D)), h(on.row(l.D)), beta(on.row(1)),
          z{on.columns(l.V()), on.columns(l.V())}, update(on.columns(l.D)), recalled(on.columns(l.D)),
          y(on.columns(l.D)), R(on.state(l.D, l.V())), W(on.held(l.D, l.D)) {}
  };

  // One sweep a token over each matrix: W waits for the last token's write, and what the query reads of this token's write
  // is (key . query) update. What a token is given from outside is fetched during the one before it, and R adds to it.
  static FW_WORD void forward(Engine& on, Memory& m, const Layout& l, const Args& a, const Track& at) {
    const int64_t D = l.D, T = at.length;
    const auto begin = [&](int64_t t) {
      const float* const inputs = a.inputs + at.row(t, l.inputs());
      const Columns z = turn(m.z, t);
      on.begin(take(z, l.v, inputs), take(z, l.k, inputs + D), take(z, l.q, inputs + 2 * D));
      on.begin(take(z, l.b, inputs + 3 * D));
    };
    on.load(m.R, a.recurrent + at.head * D * l.inputs(), l.v, l.k, l.q, l.b);
    on.load(m.W, a.initialState + at.whole(D * D), l.v);
    on.fetch(m.y, l.v, a.initialOutput + at.whole(D));
    on.clear(m.update), on.clear(m.key[1]);
    if (T > 0) begin(0), on.arrive();
    on.each(l.v, [&](auto i) { m.h[i] = on.tanh(m.y[i]); });
    for (int64_t t = 0; t < T; t++) {
      const Row key = turn(m.key, t), key_before = turn(m.key, t + 1);
      const Columns z = turn(m.z, t);
      if (t + 1 < T) begin(t + 1);
      if (at.has(t + 1 + kAhead)) {
        on.ahead(a.inputs + at.row(t + 1 + kAhead, l.inputs()), l.inputs());
        on.ahead(a.output + at.row(t + kAhead, D), D);
        if (a.hidden.data) on.ahead(a.hidden + at.row(t + kAhead, D), D);
        if (a.trace.data) on.ahead(a.trace + at.row(t + kAhead, l.trace()), l.trace());
      }
      if (a.hidden.data) on.save(a.hidden + at.row(t, D), m.h);
      on.pass(m.R, readOnto(m.h, z));
      on.aside(Engine::part(0, 1), [&](auto i) { m.beta[i] = on.sigmoid(on.beside(z, l.b, i)); });
      on.softmaxes(softmaxOf(key, z, l.k), softmaxOf(m.query, z, l.q));
      const float overlap = on.dot(key, m.query), beta = m.beta(0);
      on.pass(m.W, add(key_before, m.update), read(key, m.recalled), read(m.query, m.y));
      on.arrive();
      on.each(l.v, [&](auto i) {
        m.recalled[i] = z[i] - m.recalled[i];
        m.update[i] = beta * m.recalled[i];
        m.y[i] = m.y[i] + overlap * m.update[i];
        m.h[i] = on.tanh(m.y[i]);
      });
      float* const output = a.output + at.row(t, D);
      if (a.trace.data) {
        float* const trace = a.trace + at.row(t, l.trace());
        on.save(put(output, m.y, l.v), put(trace, key), put(trace + D, m.query), put(trace + 2 * D, m.recalled, l.v));
        on.save_number(trace + 3 * D, beta);
      } else {
        on.save(output, m.y, l.v);
      }
    }
    if (T > 0) on.pass(m.W, add(turn(m.key, T - 1), m.update));
    on.save(a.finalOutput + at.whole(D), m.y, l.v);
    on.store(a.finalState + at.whole(D * D), m.W, l.v);
  }

  struct BackwardMemory {
    Row key[2], query[2], h[2], beta[2], grad_h;
    Columns error[2], grad_y[2], grad_z, update, grad_update;
    Sums over_key, over_query;
    State R;
    Held W, G;
    FW_LAYOUT BackwardMemory(Engine& on, const Layout& l)
        : key{on.row(l.D), on.row(l.D)}, query{on.row(l.D), on.row(l.D)}, h{on.row(l.D), on.row(l.D)},
          beta{on.row(1), on.row(1)}, grad_h(on.row(l.D)), error{on.columns(l.D), on.columns(l.D)},
          grad_y{on.columns(l.D), on.columns(l.D)}, grad_z(on.columns(l.V())), update(on.columns(l.D)),
          grad_update(on.columns(l.D)), over_key(on.sums(l.D)), over_query(on.sums(l.D)),
          R(on.state(l.D, l.V())), W(on.held(l.D, l.D)), G(on.held(l.D, l.D)) {}
  };

  // From the last token to the first, undoing W_{t-1} = W_t - key update^T; G is the gradient with respect to W_t, which the
  // token before takes from the error once it sweeps over it. That of R is a product of `hidden` with dinputs, taken outside.
  static FW_WORD void backward(Engine& on, BackwardMemory& m, const Layout& l, const BackwardArgs& a, const Track& at) {
    const int64_t D = l.D, T = at.length;
    const auto begin = [&](int64_t t) {
      const float* const trace = a.trace + at.row(t, l.trace());
      on.begin(take(turn(m.key, t), trace), take(turn(m.query, t), trace + D),
               take(turn(m.error, t), l.v, trace + 2 * D), take(turn(m.h, t), a.hidden + at.row(t, D)),
               take(turn(m.grad_y, t), l.v, a.doutput + at.row(t, D)));
      on.begin(take(turn(m.beta, t), trace + 3 * D));
    };
    // What the token after it hands token t, which reads with its query and writes its update.
    const auto receive = [&](int64_t t, auto i) {
      const Columns error = turn(m.error, t), grad_y = turn(m.grad_y, t);
      grad_y[i] = grad_y[i] + m.grad_h[i];
      m.update[i] = turn(m.beta, t)(0) * error[i];
    };
    on.load(m.R, a.recurrent + at.head * D * l.inputs(), l.v, l.k, l.q, l.b);
    on.load(m.W, a.finalState + at.whole(D * D), l.v);
    if (a.dfinalState.data) on.load(m.G, a.dfinalState + at.whole(D * D), l.v);
    else on.clear(m.G);
    on.clear(m.grad_z), on.clear(turn(m.key, T));
    on.fetch(m.grad_h, a.dfinalOutput + at.whole(D));
    if (T > 0) {
      begin(T - 1), on.arrive(), on.meet();
      on.each(l.v, [&](auto i) { receive(T - 1, i); });
    }
    for (int64_t t = T - 1; t >= 0; t--) {
      const Row key = turn(m.key, t), query = turn(m.query, t), h = turn(m.h, t);
      const Columns error = turn(m.error, t), grad_y = turn(m.grad_y, t);
      if (at.has(t - 1 - kAhead)) {
        const int64_t later = t - 1 - kAhead;
        on.ahead(a.trace + at.row(later, l.trace()), l.trace());
        on.ahead(a.hidden + at.row(later, D), D), on.ahead(a.doutput + at.row(later, D), D);
        on.ahead(a.dinputs + at.row(later + 1, l.inputs()), l.inputs());
      }
      on.pass(m.G, subtract(turn(m.key, t + 1), m.grad_z), add(query, grad_y), read(key, m.grad_update),
              readAcross(m.update, m.over_key));
      const float beta = turn(m.beta, t)(0), slope = beta * (1 - beta);
      if (t > 0) begin(t - 1);
      on.each(l.v, [&](auto i) { m.grad_z[i] = beta * m.grad_update[i]; });
      on.pass(m.W, readAcross(grad_y, m.over_query), subtract(key, m.update), readAcrossOff(m.grad_z, m.over_key));
      on.fold(m.grad_z, l.b.begin, l.v, [&](auto i) { return slope * error[i] * m.grad_update[i]; });
      on.softmaxes_back(softmaxBack(m.grad_z, l.k, key, m.over_key),
                        softmaxBack(m.grad_z, l.q, query, m.over_query));
      float* const dinputs = a.dinputs + at.row(t, l.inputs());
      on.save(put(dinputs, m.grad_z, l.v), put(dinputs + D, m.grad_z, l.k), put(dinputs + 2 * D, m.grad_z, l.q));
      on.save(dinputs + 3 * D, m.grad_z, l.b);
      on.arrive();
      on.pass(m.R, readAcross(m.grad_z, m.over_key));  // h has its place
      on.add_up(m.grad_h, m.over_key);
      on.each(l.v, [&](auto i) {
        m.grad_h[i] = m.grad_h[i] * (1 - h[i] * h[i]);
        if (t > 0) receive(t - 1, i);
      });
    }
    if (T > 0) on.pass(m.G, subtract(m.key[0], m.grad_z));
    on.save(a.dinitialOutput + at.whole(D), m.grad_h);
    on.store(a.dinitialState + at.whole(D * D), m.G, l.v);
  }
};

}  // namespace fw
