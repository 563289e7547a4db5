// Decodes a kernel's arguments from the doubles that JavaScript wrote, in the order of the kernel's fields:
// buffers as [id, byte offset, dtype, elements] with id 0 for null, lists as [count, then each buffer], heads as [buffer,
// token stride, head stride, count], dims as [rank, 8 numbers], numbers as themselves. Nothing is taken that leaves its
// block.
#pragma once
#include <memory>
#include <stdexcept>
#include <vector>

#include "../kernels.h"
#include "blocks.h"
#include "uses.h"

namespace fw {

class Arguments {
 public:
  Arguments(const double* at, int64_t doubles, const Blocks& blocks)
      : at_(at), end_(at + doubles), blocks_(blocks) {}

  void read(In& x) { required(x, kReads); }
  void read(InMaybe& x) { optional(x, kReads); }
  void read(Out& x) { required(x, kWrites); }
  void read(OutMaybe& x) { optional(x, kWrites); }
  void read(InOut& x) { required(x, kUpdates); }
  void read(InOutMaybe& x) { optional(x, kUpdates); }
  void read(Heads& x) {
    required(x, kReads);
    strides(x);
  }
  void read(HeadsMaybe& x) {
    optional(x, kReads);
    strides(x);
  }
  void read(Dims& x) {
    const double* const from = take(9);
    x.rank = whole(from[0]);
    if (x.rank < 0 || x.rank > 8) throw std::invalid_argument("dims have at most 8 numbers");
    for (int64_t i = 0; i < 8; i++) x.d[i] = whole(from[1 + i]);
  }
  void read(List& x) { list(x, kReads); }
  void read(InOutList& x) { list(x, kUpdates); }
  void read(Int& x) { x = whole(*take(1)); }
  void read(Float& x) { x = *take(1); }

  // The memory of lists; it must live as long as the arguments are used.
  std::vector<std::unique_ptr<Span[]>> take_lists() { return std::move(lists_); }
  Uses& uses() { return uses_; }

 private:
  static constexpr Use kReads{0, true, false, false}, kWrites{0, false, true, true}, kUpdates{0, true, true, false};

  // The next few doubles.
  const double* take(int count) {
    const double* const from = at_;
    at_ += count;
    return from;
  }

  // Exact up to 2^53, which no size reaches.
  static int64_t whole(double value) {
    if (!(value > -0x1p53 && value < 0x1p53)) refuse_number();
    return static_cast<int64_t>(value);
  }

  // Out of line: what is refused must not weigh on what is not.
  [[noreturn, gnu::cold, gnu::noinline]] static void refuse_number() {
    throw std::invalid_argument("a whole number is needed");
  }
  [[noreturn, gnu::cold, gnu::noinline]] static void refuse(bool outside) {
    if (outside) throw std::out_of_range("an operand reaches outside its block");
    throw std::invalid_argument("an operand of a dtype that no kernel knows");
  }

  template <class Operand>
  void optional(Operand& x, Use use) {
    const double* const from = take(4);
    const int64_t id = whole(from[0]), offset = whole(from[1]), dtype = whole(from[2]), size = whole(from[3]);
    if ((dtype < kFloat32 || dtype > kInt32) && dtype != kBool) refuse(false);
    x.dtype = static_cast<DType>(dtype);
    if (id == 0) return;
    use.id = static_cast<uint64_t>(id);
    const Block& block = blocks_.find(use.id);
    const int shift = x.dtype == kBool ? 0 : x.dtype == kBfloat16 ? 1 : 2;  // of the bytes of an element
    const bool aligned = (offset & ((1 << shift) - 1)) == 0;
    if (offset < 0 || offset > block.size || !aligned || size < 0 || size > (block.size - offset) >> shift)
      refuse(true);
    x.size = size;
    x.data = reinterpret_cast<decltype(x.data)>(block.data + offset);
    use.whole = use.whole && size << shift == block.size;
    uses_.add(use, size == 0);
  }

  template <class Operand>
  void required(Operand& x, Use use) {
    optional(x, use);
    if (!x.data) throw std::invalid_argument("an operand that must be given is null");
  }

  void list(List& x, Use use) {
    constexpr int64_t kDoubles = 4;
    x.count = whole(*take(1));
    if (x.count < 0 || x.count > (end_ - at_) / kDoubles) throw std::invalid_argument("a list is longer than the command");
    lists_.push_back(std::make_unique<Span[]>(x.count));
    Span* const items = lists_.back().get();
    x.items = items;
    for (int64_t i = 0; i < x.count; i++) required(items[i], use);
  }

  void strides(Heads& x) {
    const double* const from = take(3);
    x.token = whole(from[0]);
    x.head = whole(from[1]);
    x.count = whole(from[2]);
  }

  const double* at_;
  const double* const end_;
  std::vector<std::unique_ptr<Span[]>> lists_;
  const Blocks& blocks_;
  Uses uses_;
};

}  // namespace fw
