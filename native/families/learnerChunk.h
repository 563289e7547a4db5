// A chunk of tokens that a matrix learns from at test time: its operands, how weights go on through it, and the gradients of
// its tokens. The equations stand in linearLearner.h.
#pragma once
#include "track.h"

namespace fw {

struct LearnerLayout {
  int64_t C, K, R, V, chunks;
  bool norm, momentum;
  template <class Call>
  FW_LAYOUT explicit LearnerLayout(const Call& a)
      : C(a.chunk), K(a.keyDim), R(a.keyDim + a.bias), V(a.valueDim), chunks(a.chunk > 0 ? a.tokens / a.chunk : 0),
        norm(a.normWeight.data != nullptr), momentum(a.momentum != 0) {}
  FW_LAYOUT int64_t size() const { return R * V; }
  // Columns of the coefficients: tokens, then S, then W.
  FW_LAYOUT int64_t columns() const { return momentum ? C + 2 : C; }
  // Where the states before chunk c of a track are kept.
  FW_LAYOUT int64_t kept(const Track& at, int64_t c) const {
    return ((at.sequence * chunks + c) * at.heads + at.head) * (momentum ? 2 : 1) * size();
  }
};

// What both ways need of a chunk: its operands, how weights go on, and the gradients of its tokens.
template <class Engine>
struct LearnerChunk {
  using Block = typename Engine::Block;
  using Line = typename Engine::Line;

  Block q, k, mix, held, x, residual, g, scaled, W, S;
  Line theta, scale, kept, eta, keep, carry, write, weight, bias, deviation, mean, along;
  FW_LAYOUT LearnerChunk(Engine& on, const LearnerLayout& l)
      : q(on.block(l.C, l.R)), k(on.block(l.C, l.R)), mix(on.block(l.C, l.columns())),
        held(on.block(l.momentum ? l.C : 0, l.columns())), x(on.block(l.C, l.V)), residual(on.block(l.C, l.V)),
        g(on.block(l.C, l.V)), scaled(on.block(l.C, l.R)), W(on.block(l.R, l.V)),
        S(on.block(l.momentum ? l.R : 0, l.V)), theta(on.line(l.C)), scale(on.line(l.C)), kept(on.line(l.C)),
        eta(on.line(l.C)), keep(on.line(l.C)), carry(on.line(l.C)), write(on.line(l.C)), weight(on.line(l.V)),
        bias(on.line(l.V)), deviation(on.line(l.C)), mean(on.line(l.C)), along(on.line(l.C)) {}

  // Says ahead that chunk c will be fetched.
  template <class Call>
  FW_WORD void ahead(Engine& on, const LearnerLayout& l, const Call& a, const Track& at, int64_t c) const {
    if (c < 0 || c >= l.chunks) return;
    const int64_t first = at.row(c * l.C, 1);
    on.ahead(a.q + first * l.K, at.heads * l.K, l.C, l.K), on.ahead(a.k + first * l.K, at.heads * l.K, l.C, l.K);
    on.ahead(a.target + first * l.V, at.heads * l.V, l.C, l.V);
  }
  template <class Call>
  FW_WORD void fetch(Engine& on, const LearnerLayout& l, const Call& a, const Track& at, int64_t c) const {
    const int64_t first = at.row(c * l.C, 1);
    on.fetch(q, a.q + first * l.K, at.heads * l.K, l.K, 1), on.fetch(k, a.k + first * l.K, at.heads * l.K, l.K, 1);
    on.fetch(residual, a.target + first * l.V, at.heads * l.V, l.V, 0);
    on.fetch(theta, a.theta + first, at.heads);
    const Line rate = theta;
    if (!l.momentum) {
      const Block y = mix;
      const Line by = scale;
      on.fetch(scale, a.scale + first, at.heads);
      on.each(mix, [=](int64_t t, auto i) { y(t, i) = rate[i] * (by(t) * -1); });
      return on.lower(mix);
    }
    on.fetch(kept, a.alpha + first, at.heads), on.fetch(eta, a.eta + first, at.heads);
    on.map(kept, [](float alpha) { return 1 - alpha; });
    on.map(theta, [](float x) { return -x; });
    on.diagonal(held, theta);
    on.recur(held, eta, l.C);
    on.copy(mix, held);
    on.recur(mix, kept, l.C + 1);
    on.column(carry, mix, l.C), on.column(keep, mix, l.C + 1);
    on.row(write, held, l.C - 1);
  }
  // g from the targets in `residual`, which becomes what is left of them; the norm's way back needs it and x.
  FW_WORD void gradient(Engine& on, const LearnerLayout& l, float eps) const {
    const Block x = this->x, k = this->k, residual = this->residual, g = this->g;
    const Line mean = this->mean, deviation = this->deviation, weight = this->weight, bias = this->bias;
    on.multiply(x, k, W);
    if (!l.norm) return on.each(g, [=](int64_t t, auto i) { g(t, i) = x(t, i) - residual(t, i); });
    moments(on, l, x, eps);
    on.each(x, [=](int64_t t, auto i) {
      const auto normed = (x(t, i) - mean(t)) * deviation(t);
      const auto left = normed * weight[i] + bias[i] + k(t, i) - residual(t, i);
      x(t, i) = normed, residual(t, i) = left, g(t, i) = left * weight[i];
    });
    centre(on, l, g, g);
  }
  // Of each row the mean, and 1 over the root of its variance and eps.
  FW_WORD void moments(Engine& on, const LearnerLayout& l, Block of, float eps) const {
    const Line mean = this->mean, deviation = this->deviation;
    const float share = 1 / float(l.V);
    on.fold(mean, of, [=](int64_t t, auto i) { return of(t, i); });
    on.map(mean, [=](float sum) { return sum * share; });
    on.fold(deviation, of, [=](int64_t t, auto i) { return (of(t, i) - mean(t)) * (of(t, i) - mean(t)); });
    on.map(deviation, [=](float squares) { return 1 / Engine::root(squares * share + eps); });
  }
  // y = (from - mean from - x mean (from x)) deviation, row by row: through the layer norm.
  FW_WORD void centre(Engine& on, const LearnerLayout& l, Block y, Block from) const {
    const Block x = this->x;
    const Line mean = this->mean, along = this->along, deviation = this->deviation;
    const float share = 1 / float(l.V);
    on.fold(mean, from, [=](int64_t t, auto i) { return from(t, i); });
    on.fold(along, from, [=](int64_t t, auto i) { return from(t, i) * x(t, i); });
    on.each(y, [=](int64_t t, auto i) {
      y(t, i) = (from(t, i) - share * mean(t) - x(t, i) * (share * along(t))) * deviation(t);
    });
  }
  // y = factor(t) from, row by row.
  template <class Factor>
  static FW_WORD void scale_rows(Engine& on, Block y, Block from, Factor factor) {
    on.each(y, [=](int64_t t, auto i) { y(t, i) = from(t, i) * factor(t); });
  }
  // What the last token reads of each of them.
  FW_WORD auto last(const LearnerLayout& l) const {
    return [mix = this->mix, row = l.C - 1](int64_t t) { return mix.entry(row, t); };
  }
};

}  // namespace fw
