// Decodes a kernel's arguments from the doubles that JavaScript wrote, in the order of the kernel's fields:
// buffers as [id, byte offset, dtype] with id 0 for null, lists as [count, then a buffer and its elements for each], heads
// as [buffer, token stride, head stride, count], dims as [rank, 8 numbers], numbers as themselves.
#pragma once
#include <memory>
#include <stdexcept>
#include <vector>

#include "../kernels.h"
#include "blocks.h"

namespace fw {

class Arguments {
 public:
  Arguments(const double* at, int64_t doubles, const Blocks& blocks)
      : at_(at), end_(at + doubles), blocks_(blocks) {}

  void read(In& x) { required(x); }
  void read(InMaybe& x) { optional(x); }
  void read(Out& x) { required(x); }
  void read(OutMaybe& x) { optional(x); }
  void read(InOut& x) { required(x); }
  void read(InOutMaybe& x) { optional(x); }
  void read(Heads& x) {
    required(x);
    strides(x);
  }
  void read(HeadsMaybe& x) {
    optional(x);
    strides(x);
  }
  void read(Dims& x) {
    x.rank = whole();
    if (x.rank < 0 || x.rank > 8) throw std::invalid_argument("dims have at most 8 numbers");
    for (int64_t i = 0; i < 8; i++) x.d[i] = whole();
  }
  void read(List& x) {
    x.count = whole();
    if (x.count < 0 || x.count > (end_ - at_) / 4) throw std::invalid_argument("a list is longer than the command");
    lists_.push_back(std::make_unique<Span[]>(x.count));
    Span* const items = lists_.back().get();
    x.items = items;
    for (int64_t i = 0; i < x.count; i++) {
      const uint64_t id = static_cast<uint64_t>(*at_);
      const int64_t offset = static_cast<int64_t>(at_[1]);
      required(items[i]);
      items[i].size = whole();
      const int64_t width = items[i].dtype == kBfloat16 ? 2 : 4;
      if (items[i].size < 0 || items[i].size > (blocks_.find(id).bytes - offset) / width)
        throw std::out_of_range("an item of a list ends outside its block");
    }
  }
  void read(Int& x) { x = whole(); }
  void read(Float& x) { x = *at_++; }

  // The memory of lists; it must live as long as the arguments are used.
  std::vector<std::unique_ptr<Span[]>> take_lists() { return std::move(lists_); }

 private:
  int64_t whole() { return static_cast<int64_t>(*at_++); }

  template <class Operand>
  void optional(Operand& x) {
    const uint64_t id = static_cast<uint64_t>(whole());
    const int64_t offset = whole();
    x.dtype = static_cast<DType>(whole());
    if (id == 0) return;
    const Block& block = blocks_.find(id);
    if (offset < 0 || offset > block.bytes) throw std::out_of_range("an operand starts outside its block");
    x.data = reinterpret_cast<decltype(x.data)>(block.data + offset);
  }

  template <class Operand>
  void required(Operand& x) {
    optional(x);
    if (!x.data) throw std::invalid_argument("an operand that must be given is null");
  }

  void strides(Heads& x) {
    x.token = whole();
    x.head = whole();
    x.count = whole();
  }

  const double* at_;
  const double* const end_;
  std::vector<std::unique_ptr<Span[]>> lists_;
  const Blocks& blocks_;
};

}  // namespace fw
