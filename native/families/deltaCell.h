// The recurrent part of Delta RNN and Delta LSTM (Irie, Schlag, Csordas, Schmidhuber 2021; spec 2.4.1, 2.4.2): one or three
// delta memories R [D, D], written with keys and values that come from outside and read with the last output:
//   k = softmax(key)      R += k (beta (v - R^T k))^T      p = z + R^T s, s what the cell makes of h_{t-1}
// and the cell makes h_t of p; z comes from another delta memory. Of an LSTM the memories are those of the input gate i, the
// update u and the output gate o, and c = i u + (1 - i) c.
#pragma once
#include <type_traits>

#include "track.h"

namespace fw {

template <class Engine, int kCell>
struct DeltaCell {
  using Row = typename Engine::Row;
  using Columns = typename Engine::Columns;
  using Sums = typename Engine::Sums;
  using State = typename Engine::State;
  using Part = typename Engine::Part;
  using Place = typename Engine::Place;
  using Held = typename Engine::Held;
  using SoftmaxBack = typename Engine::SoftmaxBack;
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

  // Calls f with the number of each memory, which is known while compiling.
  template <int n>
  struct Number {
    FW_LAYOUT constexpr operator int() const { return n; }
  };
  template <class F>
  static FW_WORD void each_gate(const F& f) {
    f(Number<0>{});
    if constexpr (kLstm) f(Number<1>{}), f(Number<2>{});
  }
  // The softmaxes of the keys, and of another row beside them.
  template <class Keys, class... Other>
  static FW_WORD void softmaxes(Engine& on, const Keys& key, const Other&... other) {
    if constexpr (kLstm) on.softmaxes(key(0), key(1), key(2), other...);
    else on.softmaxes(key(0), other...);
  }

  struct Memory {
    Row key[kGates][2], raw[kGates][2], beta[kGates][2], s, h;
    Columns z[kGates][2], v[kGates][2], p[kGates], update[kGates], error[kGates], c;
    Held R[kGates];
    FW_LAYOUT Memory(Engine& on, const Layout& l) : s(on.row(l.D)), h(on.row(l.D)), c(on.columns(l.D)) {
      for (int g = 0; g < kGates; g++) {
        for (int turn = 0; turn < 2; turn++) {
          key[g][turn] = on.row(l.D), raw[g][turn] = on.row(l.D), beta[g][turn] = on.row(1);
          z[g][turn] = on.columns(l.D), v[g][turn] = on.columns(l.D);
        }
        p[g] = on.columns(l.D), update[g] = on.columns(l.D), error[g] = on.columns(l.D), R[g] = on.held(l.D, l.D);
      }
    }
  };

  // One sweep a token over each memory, which waits for the last token's write; what a token is given from outside is
  // fetched during the one before it.
  static FW_WORD void forward(Engine& on, Memory& m, const Layout& l, const Args& a, const Track& at) {
    const int64_t D = l.D, T = at.length;
    const auto begin = [&](int64_t t) {
      const int64_t row = at.row(t, D);
      each_gate([&](auto g) {
        on.begin(take(turn(m.raw[g], t), of(g, a.key, a.keyUpdate, a.keyOut) + row),
                 take(turn(m.v[g], t), l.all, of(g, a.v, a.vUpdate, a.vOut) + row),
                 take(turn(m.z[g], t), l.all, of(g, a.z, a.zUpdate, a.zOut) + row),
                 take(turn(m.beta[g], t), of(g, a.beta, a.betaUpdate, a.betaOut) + at.row(t, 1)));
      });
    };
    each_gate([&](auto g) {
      on.load(m.R[g], a.initialState + at.whole(kGates * D * D) + g * D * D, l.all);
      on.clear(m.update[g]), on.clear(m.key[g][1]);
    });
    on.fetch(m.h, a.initialOutput + at.whole(D));
    if constexpr (kLstm) on.fetch(m.c, l.all, a.initialCell + at.whole(D));
    if (T > 0) begin(0), on.arrive(), on.meet();
    for (int64_t t = 0; t < T; t++) {
      float* trace = a.trace.data ? a.trace + at.row(t, l.trace()) : nullptr;
      if (t + 1 < T) begin(t + 1);
      if (at.has(t + 1 + kAhead)) {
        const int64_t later = at.row(t + 1 + kAhead, D);
        each_gate([&](auto g) {
          on.ahead(of(g, a.key, a.keyUpdate, a.keyOut) + later, D);
          on.ahead(of(g, a.v, a.vUpdate, a.vOut) + later, D);
          on.ahead(of(g, a.z, a.zUpdate, a.zOut) + later, D);
        });
        on.ahead(a.output + at.row(t + kAhead, D), D);
        if (trace) on.ahead(a.trace + at.row(t + kAhead, l.trace()), l.trace());
      }
      const Row s = kSoftmaxOut ? m.h : m.s;
      const auto key_of = [&](int g) { return softmaxOf(turn(m.key[g], t), turn(m.raw[g], t)); };
      if constexpr (kSoftmaxOut) softmaxes(on, key_of);
      else softmaxes(on, key_of, softmaxOf(s, m.h));
      if (trace) on.save(trace, s);
      if constexpr (kLstm) {
        if (trace) on.save(trace + (1 + 2 * kGates) * D, m.c, l.all);
      }
      float overlap[kGates];
      each_gate([&](auto g) {
        const Row key = turn(m.key[g], t);
        overlap[g] = on.dot(key, s);
        on.sweep(m.R[g], add(turn(m.key[g], t + 1), m.update[g]), read(key, m.error[g]), read(s, m.p[g]));
      });
      on.arrive(), on.meet();
      on.each(l.all, [&](auto i) {
        each_gate([&](auto g) {
          m.error[g][i] = turn(m.v[g], t)[i] - m.error[g][i];
          m.update[g][i] = turn(m.beta[g], t)(0) * m.error[g][i];
          const auto p = turn(m.z[g], t)[i] + m.p[g][i] + overlap[g] * m.update[g][i];
          if constexpr (!kLstm || (g == 1 && kLinearUpdate)) m.p[g][i] = p;
          else m.p[g][i] = on.sigmoid(p);
        });
        if constexpr (kLstm) {
          m.c[i] = m.p[0][i] * m.p[1][i] + (1 - m.p[0][i]) * m.c[i];
          const auto out = m.c[i] * m.p[2][i];
          if constexpr (kAddsUpdate) m.h[i] = turn(m.z[1], t)[i] + out;
          else if constexpr (kSoftmaxOut) m.s[i] = out;
          else m.h[i] = out;
        } else if constexpr (kSoftmaxOut) {
          m.s[i] = m.p[0][i];
        } else {
          m.h[i] = m.p[0][i];
        }
      });
      if constexpr (kSoftmaxOut) on.softmaxes(softmaxOf(m.h, m.s));
      on.save(a.output + at.row(t, D), m.h);
      if (trace) {
        each_gate([&](auto g) {
          on.save(trace + (1 + g) * D, m.error[g], l.all);
          if constexpr (kLstm) on.save(trace + (1 + kGates + g) * D, m.p[g], l.all);
        });
      }
    }
    each_gate([&](auto g) {
      if (T > 0) on.pass(m.R[g], add(turn(m.key[g], T - 1), m.update[g]));
      on.store(a.finalState + at.whole(kGates * D * D) + g * D * D, m.R[g], l.all);
    });
    on.save(a.finalOutput + at.whole(D), m.h);
    if constexpr (kLstm) on.save(a.finalCell + at.whole(D), m.c, l.all);
  }

  // The six states of an LSTM are too many for registers.
  using Kept = std::conditional_t<kLstm, State, Held>;
  static FW_LAYOUT Kept kept(Engine& on, const Layout& l) {
    if constexpr (kLstm) return on.state(l.D, l.D);
    else return on.held(l.D, l.D);
  }
  struct BackwardMemory {
    Row key[kGates][2], beta[kGates][2], s[2], grad_h[2], h, grad_s, grad_key;
    Columns error[kGates][2], p[kGates], grad_p[kGates], grad_v[kGates], c, grad_c, update, grad_update, grad_beta;
    Sums over_key, over_s;
    Kept R[kGates], G[kGates];
    FW_LAYOUT BackwardMemory(Engine& on, const Layout& l)
        : s{on.row(l.D), on.row(l.D)}, grad_h{on.row(l.D), on.row(l.D)}, h(on.row(kSoftmaxOut ? l.D : 0)),
          grad_s(on.row(l.D)), grad_key(on.row(l.D)), c(on.columns(kLstm ? l.D : 0)),
          grad_c(on.columns(kLstm ? l.D : 0)), update(on.columns(l.D)), grad_update(on.columns(l.D)),
          grad_beta(on.columns(kGates)), over_key(on.sums(l.D)), over_s(on.sums(l.D)) {
      for (int g = 0; g < kGates; g++) {
        for (int turn = 0; turn < 2; turn++) {
          key[g][turn] = on.row(l.D), beta[g][turn] = on.row(1), error[g][turn] = on.columns(l.D);
        }
        p[g] = on.columns(kLstm ? l.D : 0), grad_p[g] = on.columns(l.D), grad_v[g] = on.columns(l.D);
        R[g] = kept(on, l), G[g] = kept(on, l);
      }
    }
  };

  // What the cell hands back: grad_p, the gradients of p = z + R^T s, from grad_h, that of h_t.
  static FW_WORD void cell_back(BackwardMemory& m, const Row& grad_h, Place i) {
    if constexpr (kLstm) {
      const auto in = m.p[0][i], update = m.p[1][i], out = m.p[2][i], before = m.c[i];
      const auto c = in * update + (1 - in) * before, grad_c = m.grad_c[i] + grad_h[i] * out;
      m.grad_p[0][i] = grad_c * (update - before) * in * (1 - in);
      if constexpr (kLinearUpdate) m.grad_p[1][i] = grad_c * in;
      else m.grad_p[1][i] = grad_c * in * update * (1 - update);
      m.grad_p[2][i] = grad_h[i] * c * out * (1 - out);
      m.grad_c[i] = grad_c * (1 - in);
    } else {
      m.grad_p[0][i] = grad_h[i];
    }
  }

  // From the last token to the first, undoing R_{t-1} = R_t - key update^T; G is the gradient with respect to R_t, which the
  // token before takes from v once it sweeps over it.
  static FW_WORD void backward(Engine& on, BackwardMemory& m, const Layout& l, const BackwardArgs& a, const Track& at) {
    const int64_t D = l.D, T = at.length, states = at.whole(kGates * D * D);
    // Before its softmax a key lies where it will.
    const auto begin = [&](int64_t t) {
      const int64_t row = at.row(t, D);
      const float* const trace = a.trace + at.row(t, l.trace());
      each_gate([&](auto g) {
        on.begin(take(turn(m.key[g], t), of(g, a.key, a.keyUpdate, a.keyOut) + row),
                 take(turn(m.beta[g], t), of(g, a.beta, a.betaUpdate, a.betaOut) + at.row(t, 1)),
                 take(turn(m.error[g], t), l.all, trace + (1 + g) * D));
        if constexpr (kLstm) on.begin(take(m.p[g], l.all, trace + (1 + kGates + g) * D));
      });
      on.begin(take(turn(m.s, t), trace), take(turn(m.grad_h, t), a.doutput + row));
      if constexpr (kLstm) on.begin(take(m.c, l.all, trace + (1 + 2 * kGates) * D));
      if constexpr (kSoftmaxOut) on.begin(take(m.h, a.output + row));
    };
    each_gate([&](auto g) {
      on.load(m.R[g], a.finalState + states + g * D * D, l.all);
      if (a.dfinalState.data) on.load(m.G[g], a.dfinalState + states + g * D * D, l.all);
      else on.clear(m.G[g]);
      on.clear(m.grad_v[g]), on.clear(turn(m.key[g], T));
    });
    if constexpr (kLstm) on.fetch(m.grad_c, l.all, a.dfinalCell + at.whole(D));
    on.fetch(m.grad_s, a.dfinalOutput + at.whole(D));
    if (T > 0) begin(T - 1), on.arrive(), on.meet();
    for (int64_t t = T - 1; t >= 0; t--) {
      const int64_t row = at.row(t, D);
      const Row s = turn(m.s, t), grad_h = turn(m.grad_h, t);
      if (at.has(t - 1 - kAhead)) {
        const int64_t later = at.row(t - 1 - kAhead, D), saved = at.row(t - kAhead, D);
        each_gate([&](auto g) {
          on.ahead(of(g, a.key, a.keyUpdate, a.keyOut) + later, D);
          on.ahead(of(g, a.dkey, a.dkeyUpdate, a.dkeyOut) + saved, D);
          on.ahead(of(g, a.dv, a.dvUpdate, a.dvOut) + saved, D);
          on.ahead(of(g, a.dz, a.dzUpdate, a.dzOut) + saved, D);
        });
        on.ahead(a.doutput + later, D);
        on.ahead(a.trace + at.row(t - 1 - kAhead, l.trace()), l.trace());
      }
      const auto update = [&](int g, auto i) { m.update[i] = turn(m.beta[g], t)(0) * turn(m.error[g], t)[i]; };
      if constexpr (kSoftmaxOut) {
        on.each(l.all, [&](auto i) { grad_h[i] = grad_h[i] + m.grad_s[i]; });
        on.softmax_back(grad_h, m.h);
      }
      on.also(l.all, [&](auto i) {
        if constexpr (!kSoftmaxOut) grad_h[i] = grad_h[i] + m.grad_s[i];
        cell_back(m, grad_h, i);
        update(0, i);
      });
      softmaxes(on, [&](int g) { return softmaxOf(turn(m.key[g], t), turn(m.key[g], t)); });
      each_gate([&](auto g) {
        constexpr bool kLast = g == kGates - 1;
        const Row key = turn(m.key[g], t);
        const Columns error = turn(m.error[g], t);
        const float beta = turn(m.beta[g], t)(0);
        on.pass(m.G[g], subtract(turn(m.key[g], t + 1), m.grad_v[g]), add(s, m.grad_p[g]), read(key, m.grad_update),
                readAcross(m.update, m.over_key));
        if (kLast && t > 0) begin(t - 1);
        on.each(l.all, [&](auto i) { m.grad_v[g][i] = beta * m.grad_update[i]; });
        const auto over_s = g == 0 ? readAcross(m.grad_p[g], m.over_s) : readAcrossOnto(m.grad_p[g], m.over_s);
        on.pass(m.R[g], over_s, subtract(key, m.update), readAcrossOff(m.grad_v[g], m.over_key));
        on.fold(m.grad_beta, g, l.all, [&](auto i) { return error[i] * m.grad_update[i]; });
        const SoftmaxBack own = softmaxBack(m.grad_key, key, m.over_key);
        if constexpr (kLast) {
          on.arrive();
          if constexpr (kSoftmaxOut) on.add_up(m.grad_s, m.over_s), on.softmaxes_back(own);
          else on.softmaxes_back(own, softmaxBack(m.grad_s, s, m.over_s));
        } else {
          on.also(l.all, [&](auto i) { update(g + 1, i); });
          on.softmaxes_back(own);
        }
        on.save(of(g, a.dkey, a.dkeyUpdate, a.dkeyOut) + row, m.grad_key);
        on.save(of(g, a.dv, a.dvUpdate, a.dvOut) + row, m.grad_v[g], l.all);
        if constexpr (kAddsUpdate && g == 1) {
          on.also(l.all, [&](auto i) { m.grad_p[1][i] = m.grad_p[1][i] + grad_h[i]; });
        }
        on.save(of(g, a.dz, a.dzUpdate, a.dzOut) + row, m.grad_p[g], l.all);
        on.save_number(of(g, a.dbeta, a.dbetaUpdate, a.dbetaOut) + at.row(t, 1), m.grad_beta(g));
      });
    }
    each_gate([&](auto g) {
      if (T > 0) on.pass(m.G[g], subtract(m.key[g][0], m.grad_v[g]));
      on.store(a.dinitialState + states + g * D * D, m.G[g], l.all);
    });
    on.save(a.dinitialOutput + at.whole(D), m.grad_s);
    if constexpr (kLstm) on.save(a.dinitialCell + at.whole(D), m.grad_c, l.all);
  }
};

}  // namespace fw
