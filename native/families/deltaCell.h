// The recurrent part of Delta RNN and Delta LSTM (Irie, Schlag, Csordas, Schmidhuber 2021; spec 2.4.1, 2.4.2): one or three
// delta memories R [D, D], written with keys and values that come from outside and read with the last output:
//   k = softmax(key)      R += k (beta (v - R^T k))^T      p = z + R^T s, s what the cell makes of h_{t-1}
// and the cell makes h_t of p; z comes from another delta memory. Of an LSTM the memories are those of the input gate i, the
// update u and the output gate o, and c = i u + (1 - i) c.
#pragma once
#include "track.h"

namespace fw {

template <class Engine, int kCell>
struct DeltaCell {
  using Row = typename Engine::Row;
  using Columns = typename Engine::Columns;
  using Sums = typename Engine::Sums;
  using State = typename Engine::State;
  using Part = typename Engine::Part;
  using Args = deltaCellArgs;
  using BackwardArgs = deltaCellBackwardArgs;

  static constexpr bool kLstm = kCell >= kDeltaLstm1;
  static constexpr int kGates = kLstm ? 3 : 1;
  // h_t is a softmax in the first versions, and what is fed back in the later ones.
  static constexpr bool kSoftmaxOut = kCell == kDeltaRnn1 || kCell == kDeltaLstm1;
  static constexpr bool kLinearUpdate = kCell == kDeltaLstm4;
  static constexpr bool kAddsUpdate = kCell == kDeltaLstm3;

  // The operand of memory g: those of an LSTM stand beside each other in a call, `update` and `out` behind the first.
  template <class First, class Other>
  static FW_WORD auto of(int g, const First& first, const Other& update, const Other& out) -> decltype(first + 0) {
    return g == 0 ? first + 0 : g == 1 ? update + 0 : out + 0;
  }

  struct Layout {
    int64_t D;
    Part all;
    template <class Call>
    FW_LAYOUT explicit Layout(const Call& a) : D(a.width), all(Engine::part(0, a.width)) {}
    // s, the error v - R^T k and what the cell makes of p for each memory, and c_{t-1}.
    FW_LAYOUT int64_t trace() const { return (1 + 2 * kGates + (kLstm ? 1 : 0)) * D; }
  };

  struct Memory {
    Row key[kGates][2], raw, s, h;
    Columns z, v, p[kGates], update[kGates], recalled, c;
    State R[kGates];
    FW_LAYOUT Memory(Engine& on, const Layout& l)
        : raw(on.row(l.D)), s(on.row(l.D)), h(on.row(l.D)), z(on.columns(l.D)), v(on.columns(l.D)),
          recalled(on.columns(l.D)), c(on.columns(l.D)) {
      for (int g = 0; g < kGates; g++) {
        key[g][0] = on.row(l.D), key[g][1] = on.row(l.D);
        p[g] = on.columns(l.D), update[g] = on.columns(l.D), R[g] = on.state(l.D, l.D);
      }
    }
  };

  static FW_WORD void forward(Engine& on, Memory& m, const Layout& l, const Args& a, const Track& at) {
    const int64_t D = l.D, T = at.length;
    for (int g = 0; g < kGates; g++) {
      on.load(m.R[g], a.initialState + at.whole(kGates * D * D) + g * D * D, l.all);
      on.clear(m.update[g]), on.clear(m.key[g][1]);
    }
    on.fetch(m.h, a.initialOutput + at.whole(D));
    if constexpr (kLstm) on.fetch(m.c, l.all, a.initialCell + at.whole(D));
    for (int64_t t = 0; t < T; t++) {
      const int64_t row = at.row(t, D);
      float* trace = a.trace.data ? a.trace + at.row(t, l.trace()) : nullptr;
      if (at.has(t + kAhead)) {
        const int64_t later = at.row(t + kAhead, D);
        for (int g = 0; g < kGates; g++) {
          on.ahead(of(g, a.key, a.keyUpdate, a.keyOut) + later, D);
          on.ahead(of(g, a.v, a.vUpdate, a.vOut) + later, D);
          on.ahead(of(g, a.z, a.zUpdate, a.zOut) + later, D);
        }
        on.ahead(a.output + later, D);
        if (trace) on.ahead(a.trace + at.row(t + kAhead, l.trace()), l.trace());
      }
      if constexpr (kSoftmaxOut) on.each(l.all, [&](auto i) { m.s[i] = m.h[i]; });
      else on.softmax(m.s, m.h);
      if (trace) on.save(trace, m.s);
      for (int g = 0; g < kGates; g++) {
        const Row key = turn(m.key[g], t), key_before = turn(m.key[g], t + 1);
        on.fetch(take(m.raw, of(g, a.key, a.keyUpdate, a.keyOut) + row),
                 take(m.v, l.all, of(g, a.v, a.vUpdate, a.vOut) + row),
                 take(m.z, l.all, of(g, a.z, a.zUpdate, a.zOut) + row));
        on.softmax(key, m.raw);
        on.pass(m.R[g], add(key_before, m.update[g]), read(key, m.recalled), read(m.s, m.p[g]));
        const float overlap = on.dot(key, m.s), beta = of(g, a.beta, a.betaUpdate, a.betaOut)[at.row(t, 1)];
        on.each(l.all, [&](auto i) {
          m.recalled[i] = m.v[i] - m.recalled[i];
          m.update[g][i] = beta * m.recalled[i];
          const auto p = m.z[i] + m.p[g][i] + overlap * m.update[g][i];
          if constexpr (kLstm) {
            if (g == 1 && kLinearUpdate) m.p[g][i] = p;
            else m.p[g][i] = on.sigmoid(p);
          } else {
            m.p[g][i] = p;
          }
          if constexpr (kAddsUpdate) {
            if (g == 1) m.h[i] = m.z[i];
          }
        });
        if (trace) on.save(trace + (1 + g) * D, m.recalled, l.all);
      }
      if constexpr (kLstm) {
        if (trace) {
          for (int g = 0; g < kGates; g++) on.save(trace + (1 + kGates + g) * D, m.p[g], l.all);
          on.save(trace + (1 + 2 * kGates) * D, m.c, l.all);
        }
        on.each(l.all, [&](auto i) {
          m.c[i] = m.p[0][i] * m.p[1][i] + (1 - m.p[0][i]) * m.c[i];
          const auto out = m.c[i] * m.p[2][i];
          if constexpr (kAddsUpdate) m.h[i] = m.h[i] + out;
          else if constexpr (kSoftmaxOut) m.z[i] = out;
          else m.h[i] = out;
        });
        if constexpr (kSoftmaxOut) on.softmax(m.h, m.z, l.all);
      } else if constexpr (kSoftmaxOut) {
        on.softmax(m.h, m.p[0], l.all);
      } else {
        on.each(l.all, [&](auto i) { m.h[i] = m.p[0][i]; });
      }
      on.save(a.output + at.row(t, D), m.h);
    }
    for (int g = 0; g < kGates; g++) {
      if (T > 0) on.pass(m.R[g], add(turn(m.key[g], T - 1), m.update[g]));
      on.store(a.finalState + at.whole(kGates * D * D) + g * D * D, m.R[g], l.all);
    }
    on.save(a.finalOutput + at.whole(D), m.h);
    if constexpr (kLstm) on.save(a.finalCell + at.whole(D), m.c, l.all);
  }

  struct BackwardMemory {
    Row key, s, h, grad_h, grad_s, grad_key, part;
    Columns update, error, grad_update, grad_v, c, grad_c, p[kGates], grad_p[kGates];
    Sums over_key, over_s, over_v, over_beta;
    State R[kGates], G[kGates];
    FW_LAYOUT BackwardMemory(Engine& on, const Layout& l)
        : key(on.row(l.D)), s(on.row(l.D)), h(on.row(l.D)), grad_h(on.row(l.D)), grad_s(on.row(l.D)),
          grad_key(on.row(l.D)), part(on.row(l.D)), update(on.columns(l.D)), error(on.columns(l.D)),
          grad_update(on.columns(l.D)), grad_v(on.columns(l.D)), c(on.columns(l.D)), grad_c(on.columns(l.D)),
          over_key(on.sums(l.D)), over_s(on.sums(l.D)), over_v(on.sums(l.D)), over_beta(on.sums(1)) {
      for (int g = 0; g < kGates; g++) {
        p[g] = on.columns(l.D), grad_p[g] = on.columns(l.D);
        R[g] = on.state(l.D, l.D), G[g] = on.state(l.D, l.D);
      }
    }
  };

  // What the cell hands back: grad_p, the gradients of p = z + R^T s, from grad_h, that of h_t.
  static FW_WORD void cell_back(Engine& on, BackwardMemory& m, const Layout& l, const BackwardArgs& a, const Track& at,
                                int64_t t, const float* trace) {
    const int64_t D = l.D;
    if constexpr (kSoftmaxOut) {
      on.fetch(m.h, a.output + at.row(t, D));
      on.softmax_back(m.grad_h, m.h);
    }
    if constexpr (kLstm) {
      for (int g = 0; g < kGates; g++) on.fetch(m.p[g], l.all, trace + (1 + kGates + g) * D);
      on.fetch(m.c, l.all, trace + (1 + 2 * kGates) * D);
      on.each(l.all, [&](auto i) {
        const auto in = m.p[0][i], update = m.p[1][i], out = m.p[2][i], before = m.c[i];
        const auto c = in * update + (1 - in) * before, grad_c = m.grad_c[i] + m.grad_h[i] * out;
        m.grad_p[0][i] = grad_c * (update - before) * in * (1 - in);
        if constexpr (kLinearUpdate) m.grad_p[1][i] = grad_c * in;
        else m.grad_p[1][i] = grad_c * in * update * (1 - update);
        m.grad_p[2][i] = m.grad_h[i] * c * out * (1 - out);
        m.grad_c[i] = grad_c * (1 - in);
      });
    } else {
      on.each(l.all, [&](auto i) { m.grad_p[0][i] = m.grad_h[i]; });
    }
  }

  static FW_WORD void backward(Engine& on, BackwardMemory& m, const Layout& l, const BackwardArgs& a, const Track& at) {
    const int64_t D = l.D, T = at.length, states = at.whole(kGates * D * D);
    for (int g = 0; g < kGates; g++) {
      on.load(m.R[g], a.finalState + states + g * D * D, l.all);
      if (a.dfinalState.data) on.load(m.G[g], a.dfinalState + states + g * D * D, l.all);
      else on.clear(m.G[g]);
    }
    if constexpr (kLstm) on.fetch(m.grad_c, l.all, a.dfinalCell + at.whole(D));
    on.fetch(m.grad_s, a.dfinalOutput + at.whole(D));
    for (int64_t t = T - 1; t >= 0; t--) {
      const int64_t row = at.row(t, D);
      const float* trace = a.trace + at.row(t, l.trace());
      if (at.has(t - kAhead)) {
        const int64_t later = at.row(t - kAhead, D);
        for (int g = 0; g < kGates; g++) {
          on.ahead(of(g, a.key, a.keyUpdate, a.keyOut) + later, D);
          on.ahead(of(g, a.dkey, a.dkeyUpdate, a.dkeyOut) + later, D);
          on.ahead(of(g, a.dv, a.dvUpdate, a.dvOut) + later, D);
          on.ahead(of(g, a.dz, a.dzUpdate, a.dzOut) + later, D);
        }
        on.ahead(a.doutput + later, D);
        on.ahead(a.trace + at.row(t - kAhead, l.trace()), l.trace());
      }
      on.fetch(m.grad_h, a.doutput + at.row(t, D));
      on.each(l.all, [&](auto i) { m.grad_h[i] = m.grad_h[i] + m.grad_s[i]; });
      cell_back(on, m, l, a, at, t, trace);
      on.fetch(m.s, trace);
      on.clear(m.grad_s);
      for (int g = 0; g < kGates; g++) {
        const float beta = of(g, a.beta, a.betaUpdate, a.betaOut)[at.row(t, 1)];
        on.fetch(m.part, of(g, a.key, a.keyUpdate, a.keyOut) + row), on.softmax(m.key, m.part);
        on.fetch(m.error, l.all, trace + (1 + g) * D);
        on.each(l.all, [&](auto i) { m.update[i] = beta * m.error[i]; });
        on.pass(m.G[g], add(m.s, m.grad_p[g]), read(m.key, m.grad_update), readAcross(m.update, m.over_key));
        on.fold(m.over_beta, 0, l.all, [&](auto i) { return m.error[i] * m.grad_update[i]; });
        on.each(l.all, [&](auto i) { m.grad_v[i] = beta * m.grad_update[i]; });
        on.pass(m.R[g], readAcross(m.grad_p[g], m.over_s), subtract(m.key, m.update), readAcross(m.grad_v, m.over_v));
        on.pass(m.G[g], subtract(m.key, m.grad_v));
        on.add_up(m.grad_key, m.over_key), on.add_up(m.part, m.over_v);
        on.each(l.all, [&](auto i) { m.grad_key[i] = m.grad_key[i] - m.part[i]; });
        on.add_up(m.part, m.over_s);
        on.each(l.all, [&](auto i) { m.grad_s[i] = m.grad_s[i] + m.part[i]; });
        on.softmax_back(m.grad_key, m.key);
        on.save(of(g, a.dkey, a.dkeyUpdate, a.dkeyOut) + row, m.grad_key);
        on.save(of(g, a.dv, a.dvUpdate, a.dvOut) + row, m.grad_v, l.all);
        if constexpr (kAddsUpdate) {
          if (g == 1) on.each(l.all, [&](auto i) { m.grad_p[1][i] = m.grad_p[1][i] + m.grad_h[i]; });
        }
        on.save(of(g, a.dz, a.dzUpdate, a.dzOut) + row, m.grad_p[g], l.all);
        on.save_sum(of(g, a.dbeta, a.dbetaUpdate, a.dbetaOut) + at.row(t, 1), m.over_beta);
      }
      if constexpr (!kSoftmaxOut) on.softmax_back(m.grad_s, m.s);
    }
    for (int g = 0; g < kGates; g++) on.store(a.dinitialState + states + g * D * D, m.G[g], l.all);
    on.save(a.dinitialOutput + at.whole(D), m.grad_s);
    if constexpr (kLstm) on.save(a.dinitialCell + at.whole(D), m.grad_c, l.all);
  }
};

}  // namespace fw
