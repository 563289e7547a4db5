#include "fibre.h"

#include <stdint.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#ifndef FW_UCONTEXT
// Saves what a call must preserve on the stack that is left, its top in *from, and does the reverse with the other.
extern "C" void fw_emulation_switch(void** from, void* to);
asm(R"(
.text
.local fw_emulation_switch
fw_emulation_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
)");
#endif

namespace emulation {

thread_local Fibre* Fibre::left_ = nullptr;

void Fibre::prepare(unsigned char* stack, size_t bytes, void (*entry)()) {
  stack_ = stack;
  bytes_ = bytes;
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(stack, bytes);
#endif
#ifndef FW_UCONTEXT
  // Entered by `ret`, after six pops; a function finds the stack 8 bytes off a multiple of 16.
  constexpr int kSaved = 6;
  uint64_t* top = reinterpret_cast<uint64_t*>(stack + bytes) - 2 - kSaved;
  for (int i = 0; i < kSaved; i++) top[i] = 0;
  top[kSaved] = reinterpret_cast<uint64_t>(entry);
  top_ = top;
#else
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack;
  context_.uc_stack.ss_size = bytes;
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
#endif
}

void Fibre::enter(Fibre& from) {
#ifdef __SANITIZE_ADDRESS__
  left_ = &from;
  __sanitizer_start_switch_fiber(&from.fake_stack_, stack_, bytes_);
#endif
#ifndef FW_UCONTEXT
  fw_emulation_switch(&from.top_, top_);
#else
  swapcontext(&from.context_, &context_);
#endif
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(from.fake_stack_, nullptr, nullptr);
#endif
}

void Fibre::entered() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, &left_->stack_, &left_->bytes_);
#endif
}

}  // namespace emulation
