// Failures follow tensors: what a call that failed should have written is marked with what went wrong, and so is what
// later calls make of it; only the reads of marked blocks throw. In the order of the queue, from any thread.
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>
#include <iterator>
#include <mutex>
#include <unordered_map>

#include "uses.h"

namespace fw {

class Failures {
 public:
  // Nearly always false, and then there is nothing to look up.
  bool any() const { return count_.load(std::memory_order_acquire) != 0; }

  // What the call writes inherits the failure of what it reads; whether there is one, so that it must not run.
  template <class List>
  bool inherit(const List& uses) {
    std::exception_ptr failure;
    each(uses, [&](const Use& use) {
      if (use.read && !failure) failure = of(use.id);
    });
    if (failure) record(uses, failure);
    return failure != nullptr;
  }

  template <class List>
  void record(const List& uses, const std::exception_ptr& failure) {
    each(uses, [&](const Use& use) {
      if (use.written) put(use.id, failure);
    });
  }

  // A call that ran: what it wrote wholly is well again.
  template <class List>
  void heal(const List& uses) {
    each(uses, [&](const Use& use) {
      if (use.whole) forget(use.id);
    });
  }

  void put(uint64_t id, const std::exception_ptr& failure) {
    std::lock_guard<std::mutex> lock(mutex_);
    failed_[id] = failure;
    count_ = failed_.size();
  }

  void forget(uint64_t id) {
    std::lock_guard<std::mutex> lock(mutex_);
    failed_.erase(id);
    count_ = failed_.size();
  }

  // Forgets the blocks of which `gone` says that they are no more.
  template <class Gone>
  void forget_if(const Gone& gone) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto it = failed_.begin(); it != failed_.end();) it = gone(it->first) ? failed_.erase(it) : std::next(it);
    count_ = failed_.size();
  }

  std::exception_ptr of(uint64_t id) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = failed_.find(id);
    return found == failed_.end() ? nullptr : found->second;
  }

  void rethrow(uint64_t id) {
    if (!any()) return;
    if (const std::exception_ptr failure = of(id)) std::rethrow_exception(failure);
  }

 private:
  template <class Visit>
  static void each(const Uses& uses, const Visit& visit) {
    uses.each(visit);
  }
  template <class Visit>
  static void each(const std::vector<Use>& uses, const Visit& visit) {
    for (const Use& use : uses) visit(use);
  }

  std::atomic<size_t> count_{0};
  std::mutex mutex_;
  std::unordered_map<uint64_t, std::exception_ptr> failed_;
};

}  // namespace fw
