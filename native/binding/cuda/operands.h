// The dtypes of a kernel's operands, compared before its launch: a kernel branches on few of them, and would take the bits
// of any other for what they are not.
#pragma once
#include "../../cuda/context.h"

namespace fw {

// Kernels that take every dtype of the card; they say themselves which go together.
template <class Args>
constexpr bool kAnyDtype = false;
template <>
inline constexpr bool kAnyDtype<fillArgs> = true;
template <>
inline constexpr bool kAnyDtype<castArgs> = true;
template <>
inline constexpr bool kAnyDtype<copyArgs> = true;
template <>
inline constexpr bool kAnyDtype<binaryArgs> = true;
template <>
inline constexpr bool kAnyDtype<reduceArgs> = true;
template <>
inline constexpr bool kAnyDtype<argmaxArgs> = true;
template <>
inline constexpr bool kAnyDtype<cumsumArgs> = true;

enum class Holds { kFloats, kIntegers, kAny };

constexpr bool same(const char* a, const char* b) {
  for (; *a && *a == *b; a++) b++;
  return *a == *b;
}
template <class Args>
constexpr Holds held_by(const char* field) {
  if (kAnyDtype<Args>) return Holds::kAny;
  for (const char* integers : {"offsets", "indices", "target", "positions"}) {
    if (same(field, integers)) return Holds::kIntegers;
  }
  return Holds::kFloats;
}

inline bool fits(Holds holds, DType dtype) {
  const bool floats = dtype == kFloat32 || dtype == kBfloat16, integers = dtype == kInt32;
  return holds == Holds::kFloats ? floats : holds == Holds::kIntegers ? integers : floats || integers;
}

template <Holds holds, class Operand>
void check_operand(const char* field, const Operand& x) {
  if (x.data && !fits(holds, x.dtype)) cuda::unknown(field, "dtype", x.dtype);
}
template <Holds holds>
void check_operand(const char* field, const List& list) {
  for (int64_t i = 0; i < list.count; i++) {
    if (!fits(holds, list[i].dtype)) cuda::unknown(field, "dtype", list[i].dtype);
  }
}
template <Holds>
void check_operand(const char*, const Int&) {}
template <Holds>
void check_operand(const char*, const Float&) {}
template <Holds>
void check_operand(const char*, const Dims&) {}

#define FW_CHECK_FIELD(kind, field) check_operand<held_by<Args>(#field)>(#field, args.field);
#define FW_CHECK(kernel)                           \
  inline void check_operands(const kernel##Args& args) { \
    using Args = kernel##Args;                     \
    FW_FIELDS_##kernel(FW_CHECK_FIELD)             \
  }
FW_KERNELS(FW_CHECK)
#undef FW_CHECK
#undef FW_CHECK_FIELD

}  // namespace fw
