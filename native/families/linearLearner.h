// A matrix that learns at test time, a chunk of C tokens at a time (TTT-Linear, Sun et al. 2024; Titans, Behrouz et al. 2025;
// spec 2.13.16, 2.13.17). Per head W [R, V] and, with momentum, S [R, V]; R = K, or K + 1 with a bias, whose input is 1:
//   G = gradient of the loss at K W           those of all tokens of the chunk, at its first weights
//   O = keep (Q W) + carry (Q S) + (mix (Q K^T)) G
//   W <- keep_C W + carry_C S + (mix_C K)^T G         S <- heldS_C S + (held_C K)^T G
// where row t of mix [C, C], keep_t and carry_t say what the gradients, W and S before the chunk are to the weights that token
// t reads, held_t and heldS_t what they are to its momentum, and _C means the last token. Without momentum
// mix_ts = -scale_t theta_s; with it they follow the recurrence itself,
//   S_t = eta_t S_{t-1} - theta_t G_t         W_t = (1 - alpha_t) W_{t-1} + S_t.
// The loss is 1/2 |z - target|^2, or, with a norm LN of weight and bias, that of k + LN z; then outputs are q + LN o or o + LN o.
#pragma once
#include "learnerChunk.h"

namespace fw {

template <class Engine>
struct LinearLearner {
  using Block = typename Engine::Block;
  using Line = typename Engine::Line;
  using Args = linearLearnerArgs;
  using BackwardArgs = linearLearnerBackwardArgs;

  using Layout = LearnerLayout;
  using Chunk = LearnerChunk<Engine>;

  struct Memory : Chunk {
    Block scores, o;
    FW_LAYOUT Memory(Engine& on, const Layout& l) : Chunk(on, l), scores(on.block(l.C, l.C)), o(on.block(l.C, l.V)) {}
  };

  static FW_WORD void forward(Engine& on, const Memory& memory, const Layout& l, const Args& a, const Track& at) {
    const Memory m = memory;
    const Block W = m.W, S = m.S, scores = m.scores, mix = m.mix;
    const int64_t C = l.C;
    on.fetch(W, a.initialState + at.whole(l.size()), l.V, l.V, 0);
    if (l.momentum) on.fetch(S, a.initialMomentum + at.whole(l.size()), l.V, l.V, 0);
    if (l.norm) on.fetch(m.weight, a.normWeight + at.head * l.V, 1), on.fetch(m.bias, a.normBias + at.head * l.V, 1);
    for (int64_t c = 0; c < l.chunks; c++) {
      if (a.states.data) {
        on.save(a.states + l.kept(at, c), l.V, W);
        if (l.momentum) on.save(a.states + l.kept(at, c) + l.size(), l.V, S);
      }
      m.fetch(on, l, a, at, c);
      m.gradient(on, l, a.eps);
      m.ahead(on, l, a, at, c + 1);
      on.ahead(a.output + at.row(c * C, l.V), at.heads * l.V, C, l.V);
      on.multiply(scores, m.q, m.k.across());
      on.each(scores, [=](int64_t t, auto i) { scores(t, i) = scores(t, i) * mix(t, i); });
      on.multiply(m.o, scores, m.g);
      if (l.momentum) {
        m.scale_rows(on, m.scaled, m.q, m.carry), on.add(m.o, m.scaled, S);
        m.scale_rows(on, m.q, m.q, m.keep);
      }
      on.add(m.o, m.q, W);
      if (a.reads.data) on.save(a.reads + at.row(c * C, l.V), at.heads * l.V, m.o);
      if (l.norm) norm_output(on, m, l, a);
      on.save(a.output + at.row(c * C, l.V), at.heads * l.V, m.o);

      if (l.momentum) {
        const float keep = m.keep(C - 1), carry = m.carry(C - 1), held = m.held.entry(C - 1, C);
        on.each(W, [=](int64_t r, auto i) {
          W(r, i) = W(r, i) * keep + S(r, i) * carry;
          S(r, i) = S(r, i) * held;
        });
        m.scale_rows(on, m.scaled, m.k, m.write), on.add(S, m.scaled.across(), m.g);
      }
      m.scale_rows(on, m.scaled, m.k, m.last(l)), on.add(W, m.scaled.across(), m.g);
    }
    on.save(a.finalState + at.whole(l.size()), l.V, W);
    if (l.momentum) on.save(a.finalMomentum + at.whole(l.size()), l.V, S);
  }

  static FW_WORD void norm_output(Engine& on, const Memory& m, const Layout& l, const Args& a) {
    const Block o = m.o, beside = a.addsRead ? m.o : m.q;
    const Line mean = m.mean, deviation = m.deviation, weight = m.weight, bias = m.bias;
    m.moments(on, l, o, a.eps);
    on.each(o, [=](int64_t t, auto i) {
      o(t, i) = (o(t, i) - mean(t)) * deviation(t) * weight[i] + bias[i] + beside(t, i);
    });
  }

  struct BackwardMemory : Chunk {
    Block products, scores, read, grad_mix, grad_o, grad_g, grad_x, grad_q, grad_k, grad_W, grad_S;
    Line grad_weight, grad_bias, first, second, third, over;
    FW_LAYOUT BackwardMemory(Engine& on, const Layout& l)
        : Chunk(on, l), products(on.block(l.C, l.C)), scores(on.block(l.C, l.C)), read(on.block(l.C, l.R)),
          grad_mix(on.block(l.C, l.columns())), grad_o(on.block(l.C, l.V)), grad_g(on.block(l.C, l.V)),
          grad_x(on.block(l.C, l.V)), grad_q(on.block(l.C, l.R)), grad_k(on.block(l.C, l.R)),
          grad_W(on.block(l.R, l.V)), grad_S(on.block(l.momentum ? l.R : 0, l.V)), grad_weight(on.line(l.V)),
          grad_bias(on.line(l.V)), first(on.line(l.C)), second(on.line(l.C)), third(on.line(l.C)), over(on.line(l.R)) {}
  };

  static FW_WORD void backward(Engine& on, const BackwardMemory& memory, const Layout& l, const BackwardArgs& a,
                               const Track& at) {
    const BackwardMemory m = memory;
    const Block q = m.q, k = m.k, W = m.W, S = m.S, mix = m.mix, products = m.products, scores = m.scores, read = m.read;
    const Block grad_mix = m.grad_mix, grad_q = m.grad_q, grad_k = m.grad_k, grad_g = m.grad_g, grad_x = m.grad_x;
    const Block grad_W = m.grad_W, grad_S = m.grad_S;
    const Line write = m.write, carry = m.carry, keep = m.keep, first = m.first, second = m.second, third = m.third;
    const int64_t C = l.C;
    on.fetch(grad_W, a.dfinalState + at.whole(l.size()), l.V, l.V, 0);
    if (l.momentum) on.fetch(grad_S, a.dfinalMomentum + at.whole(l.size()), l.V, l.V, 0);
    if (l.norm) on.fetch(m.weight, a.normWeight + at.head * l.V, 1), on.fetch(m.bias, a.normBias + at.head * l.V, 1);
    on.clear(m.grad_weight), on.clear(m.grad_bias);
    for (int64_t c = l.chunks - 1; c >= 0; c--) {
      const int64_t token = at.row(c * C, 1);
      on.fetch(W, a.states + l.kept(at, c), l.V, l.V, 0);
      if (l.momentum) on.fetch(S, a.states + l.kept(at, c) + l.size(), l.V, l.V, 0);
      m.fetch(on, l, a, at, c);
      on.fetch(m.grad_o, a.doutput + token * l.V, at.heads * l.V, l.V, 0);
      if (l.norm) norm_output_back(on, m, l, a, token, at);
      m.gradient(on, l, a.eps);
      m.ahead(on, l, a, at, c - 1);
      on.ahead(a.dq + token * l.K, at.heads * l.K, C, l.K), on.ahead(a.dk + token * l.K, at.heads * l.K, C, l.K);
      on.ahead(a.dtarget + token * l.V, at.heads * l.V, C, l.V);
      on.multiply(products, q, k.across());
      on.each(scores, [=](int64_t t, auto i) { scores(t, i) = products(t, i) * mix(t, i); });

      // What reads G: outputs and the states after the chunk. `third` is the gradient of mix_C for these.
      on.multiply(grad_g, scores.across(), m.grad_o);
      m.scale_rows(on, m.scaled, k, m.last(l)), on.add(grad_g, m.scaled, grad_W);
      on.multiply(read, m.g, grad_W.across());
      m.scale_rows(on, grad_k, read, m.last(l));
      on.fold(third, read, [=](int64_t t, auto i) { return read(t, i) * k(t, i); });
      if (l.momentum) {
        m.scale_rows(on, m.scaled, k, write), on.add(grad_g, m.scaled, grad_S);
        on.multiply(read, m.g, grad_S.across());
        on.each(grad_k, [=](int64_t t, auto i) { grad_k(t, i) = grad_k(t, i) + read(t, i) * write(t); });
        on.fold(second, read, [=](int64_t t, auto i) { return read(t, i) * k(t, i); });
      }

      if (c > 0) {
        on.ahead(a.states + l.kept(at, c - 1), l.V, l.R * (l.momentum ? 2 : 1), l.V);
        on.ahead(a.doutput + at.row((c - 1) * C, l.V), at.heads * l.V, C, l.V);
      }

      // Scores, and what queries read of the states before the chunk.
      on.multiply(grad_mix, m.grad_o, m.g.across());
      on.each(scores, [=](int64_t t, auto i) {
        scores(t, i) = grad_mix(t, i) * mix(t, i);
        grad_mix(t, i) = grad_mix(t, i) * products(t, i);
      });
      on.add_to_row(grad_mix, C - 1, third);
      on.multiply(grad_q, scores, k);
      on.add(grad_k, scores.across(), q);
      if (l.momentum) {
        on.multiply(read, m.grad_o, W.across());
        on.each(grad_q, [=](int64_t t, auto i) { grad_q(t, i) = grad_q(t, i) + read(t, i) * keep(t); });
        on.fold(first, read, [=](int64_t t, auto i) { return read(t, i) * q(t, i); });
        on.add_to(first, C - 1, inner(on, m.over, W, grad_W));
        on.multiply(read, m.grad_o, S.across());
        on.each(grad_q, [=](int64_t t, auto i) { grad_q(t, i) = grad_q(t, i) + read(t, i) * carry(t); });
        on.fold(third, read, [=](int64_t t, auto i) { return read(t, i) * q(t, i); });
        on.add_to(third, C - 1, inner(on, m.over, S, grad_W));
        course_back(on, m, l, a, token, at, inner(on, m.over, S, grad_S));
      } else {
        on.add(grad_q, m.grad_o, W.across());
        rates_back(on, m, a, token, at);
        if (l.norm && !a.addsRead) {
          on.fetch(read, a.doutput + token * l.V, at.heads * l.V, l.V, 0);
          on.each(grad_q, [=](int64_t t, auto i) { grad_q(t, i) = grad_q(t, i) + read(t, i); });
        }
      }
      on.save(a.dq + token * l.K, at.heads * l.K, grad_q, l.K);

      // Through the loss to what K W was: grad_x becomes its gradient, grad_g that of the target.
      if (l.norm) norm_back(on, m, l);
      else on.each(grad_x, [=](int64_t t, auto i) {
        grad_x(t, i) = grad_g(t, i);
        grad_g(t, i) = grad_x(t, i) * -1;
      });
      on.save(a.dtarget + token * l.V, at.heads * l.V, grad_g);
      if (l.norm) on.each(grad_g, [=](int64_t t, auto i) { grad_k(t, i) = grad_k(t, i) - grad_g(t, i); });
      on.add(grad_k, grad_x, W.across());
      on.save(a.dk + token * l.K, at.heads * l.K, grad_k, l.K);

      // The states before the chunk.
      if (l.momentum) {
        const float kept = keep(C - 1), carried = carry(C - 1), held = m.held.entry(C - 1, C);
        on.each(grad_S, [=](int64_t r, auto i) {
          grad_S(r, i) = grad_S(r, i) * held + grad_W(r, i) * carried;
          grad_W(r, i) = grad_W(r, i) * kept;
        });
        m.scale_rows(on, m.scaled, q, carry), on.add(grad_S, m.scaled.across(), m.grad_o);
        m.scale_rows(on, q, q, keep);
      }
      on.add(grad_W, q.across(), m.grad_o);
      on.add(grad_W, k.across(), grad_x);
    }
    on.save(a.dinitialState + at.whole(l.size()), l.V, grad_W);
    if (l.momentum) on.save(a.dinitialMomentum + at.whole(l.size()), l.V, grad_S);
    if (l.norm) on.save(a.dnormWeight + at.whole(l.V), 1, m.grad_weight), on.save(a.dnormBias + at.whole(l.V), 1, m.grad_bias);
  }

  // The sum over all of two states.
  static FW_WORD float inner(Engine& on, Line over, Block x, Block y) {
    on.fold(over, x, [=](int64_t r, auto i) { return x(r, i) * y(r, i); });
    return on.total(over);
  }

  // From grad_mix to the rates of mix_ts = -scale_t theta_s.
  static FW_WORD void rates_back(Engine& on, const BackwardMemory& m, const BackwardArgs& a, int64_t token, const Track& at) {
    const Block grad = m.grad_mix;
    const Line theta = m.theta, scale = m.scale, first = m.first, second = m.second;
    on.lower(grad);
    on.fold(first, grad, [=](int64_t t, auto i) { return grad(t, i) * theta[i] * -1; });
    on.save(a.dscale + token, at.heads, first);
    on.clear(second);
    on.fold_down(second, grad, [=](int64_t t, auto i) { return grad(t, i) * (scale(t) * -1); });
    on.save(a.dtheta + token, at.heads, second);
  }

  // From grad_mix, `first` of keep, `third` of carry, `second` of held_C and grad_held of heldS_C to the gates. The recurrence
  // of coefficients run backwards; above the diagonal stands what nothing reads.
  static FW_WORD void course_back(Engine& on, const BackwardMemory& m, const Layout& l, const BackwardArgs& a,
                                  int64_t token, const Track& at, float grad_held) {
    const Block grad = m.grad_mix, mix = m.mix, held = m.held;
    const Line first = m.first;
    const int64_t C = l.C;
    on.set_column(grad, C, m.third), on.set_column(grad, C + 1, m.first);
    on.recur_back(grad, m.kept);
    on.fold(first, grad, [=](int64_t t, auto i) { return grad(t, i) * mix(t > 0 ? t - 1 : 0, i) * (t > 0 ? -1.0f : 0); });
    on.add_to(first, 0, -grad.entry(0, C + 1));
    on.save(a.dalpha + token, at.heads, first);
    on.add_to_row(grad, C - 1, m.second);
    on.add_to_entry(grad, C - 1, C, grad_held);
    on.recur_back(grad, m.eta);
    on.fold(first, grad, [=](int64_t t, auto i) { return grad(t, i) * held(t > 0 ? t - 1 : 0, i) * (t > 0 ? 1.0f : 0); });
    on.add_to(first, 0, grad.entry(0, C));
    on.save(a.deta + token, at.heads, first);
    on.diagonal_of(first, grad);
    on.map(first, [](float x) { return -x; });
    on.save(a.dtheta + token, at.heads, first);
  }

  // grad_o, the gradient of outputs, becomes that of what tokens read.
  static FW_WORD void norm_output_back(Engine& on, const BackwardMemory& m, const Layout& l, const BackwardArgs& a,
                                       int64_t token, const Track& at) {
    const Block x = m.x, grad_o = m.grad_o, grad_x = m.grad_x;
    const Line mean = m.mean, deviation = m.deviation, weight = m.weight;
    on.fetch(x, a.reads + token * l.V, at.heads * l.V, l.V, 0);
    m.moments(on, l, x, a.eps);
    on.each(x, [=](int64_t t, auto i) {
      x(t, i) = (x(t, i) - mean(t)) * deviation(t);
      grad_x(t, i) = grad_o(t, i) * weight[i];
    });
    on.fold_down(m.grad_weight, x, [=](int64_t t, auto i) { return grad_o(t, i) * x(t, i); });
    on.fold_down(m.grad_bias, x, [=](int64_t t, auto i) { return grad_o(t, i) * 1; });
    m.centre(on, l, grad_x, grad_x);
    const float kept = float(a.addsRead);
    on.each(grad_o, [=](int64_t t, auto i) { grad_o(t, i) = grad_x(t, i) + grad_o(t, i) * kept; });
  }

  // grad_g, the gradient of G, becomes that of the target, and grad_x that of K W.
  static FW_WORD void norm_back(Engine& on, const BackwardMemory& m, const Layout& l) {
    const float share = 1 / float(l.V);
    const Block x = m.x, residual = m.residual, g = m.g, grad_g = m.grad_g, grad_x = m.grad_x;
    const Line weight = m.weight, deviation = m.deviation, e_x = m.first, g_x = m.along, g_g = m.third;
    on.fold(e_x, x, [=](int64_t t, auto i) { return residual(t, i) * weight[i] * x(t, i); });
    on.fold(g_g, grad_g, [=](int64_t t, auto i) { return grad_g(t, i) * g(t, i); });
    m.centre(on, l, grad_x, grad_g);
    // grad_x is the gradient of e = weight (weight x + bias - target) now, and g_x what `centre` left, grad_g x.
    on.fold_down(m.grad_weight, x, [=](int64_t t, auto i) {
      return grad_x(t, i) * (x(t, i) * weight[i] + residual(t, i));
    });
    on.fold_down(m.grad_bias, x, [=](int64_t t, auto i) { return grad_x(t, i) * weight[i]; });
    on.each(grad_x, [=](int64_t t, auto i) {
      const auto direct = grad_g(t, i) * (share * e_x(t)) + residual(t, i) * weight[i] * (share * g_x(t));
      const auto back = grad_x(t, i) * weight[i];
      grad_g(t, i) = back * -1;
      grad_x(t, i) = back * weight[i] - direct * deviation(t);
    });
    m.centre(on, l, grad_x, grad_x);
    on.each(grad_x, [=](int64_t t, auto i) { grad_x(t, i) = grad_x(t, i) - x(t, i) * (share * g_g(t) * deviation(t)); });
  }
};

}  // namespace fw
