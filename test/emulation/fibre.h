// A flow of control with a stack of its own. AddressSanitizer is told of every change of stacks.
#pragma once
#include <stddef.h>

#if !defined(__x86_64__) || defined(FW_EMULATION_UCONTEXT)
#define FW_UCONTEXT
#include <ucontext.h>
#endif

namespace emulation {

class Fibre {
 public:
  // The next `enter` begins `entry`, which must not return, at the top of this stack.
  void prepare(unsigned char* stack, size_t bytes, void (*entry)());
  // Leaves `from`, which is running, and goes on with this one.
  void enter(Fibre& from);
  // To be called at the beginning of an entry.
  static void entered();

 private:
#ifndef FW_UCONTEXT
  void* top_ = nullptr;
#else
  ucontext_t context_;
#endif
  const void* stack_ = nullptr;
  size_t bytes_ = 0;
  void* fake_stack_ = nullptr;
  static thread_local Fibre* left_;
};

}  // namespace emulation
