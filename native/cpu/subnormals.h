// What the processor does with subnormal numbers in the calling thread. A state that decays would otherwise end among
// them and stay there, since 0.9 times the smallest one is rounded to it again, and every product with them may take a
// hundred times as long. Not for kernel sources: their frames are not unwound, and a mode must not outlive a call.
#pragma once
#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace fw {

using SubnormalMode = uint64_t;

#if defined(__x86_64__)
constexpr SubnormalMode kFlushSubnormals = 0x8040;  // results (FTZ) and operands (DAZ) of MXCSR
inline SubnormalMode subnormal_mode() { return _mm_getcsr() & kFlushSubnormals; }
inline void set_subnormal_mode(SubnormalMode mode) {
  _mm_setcsr((_mm_getcsr() & ~static_cast<unsigned>(kFlushSubnormals)) | static_cast<unsigned>(mode));
}
#elif defined(__aarch64__)
constexpr SubnormalMode kFlushSubnormals = SubnormalMode(1) << 24;  // FZ of FPCR
inline SubnormalMode subnormal_mode() {
  SubnormalMode control;
  asm volatile("mrs %0, fpcr" : "=r"(control));
  return control & kFlushSubnormals;
}
inline void set_subnormal_mode(SubnormalMode mode) {
  SubnormalMode control;
  asm volatile("mrs %0, fpcr" : "=r"(control));
  asm volatile("msr fpcr, %0" : : "r"((control & ~kFlushSubnormals) | mode) : "memory");
}
#else
constexpr SubnormalMode kFlushSubnormals = 0;
inline SubnormalMode subnormal_mode() { return 0; }
inline void set_subnormal_mode(SubnormalMode) {}
#endif

// The calling thread's mode while it lives.
class SubnormalScope {
 public:
  explicit SubnormalScope(SubnormalMode mode) : before_(subnormal_mode()), changed_(mode != before_) {
    if (changed_) set_subnormal_mode(mode);
  }
  SubnormalScope(const SubnormalScope&) = delete;
  ~SubnormalScope() {
    if (changed_) set_subnormal_mode(before_);
  }

 private:
  const SubnormalMode before_;
  const bool changed_;
};

}  // namespace fw
