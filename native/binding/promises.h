// Promises that the dispatcher thread fulfils.
#pragma once
#include <napi.h>

#include <exception>
#include <memory>

#include "queue.h"

namespace fw {

class Promises {
 public:
  // The environment's cleanup hook that stops the queue must be added after this is made: hooks run in reverse.
  explicit Promises(Napi::Env env);

  // Resolves once `queue` has come here and run `before`; rejects with what that throws. `keep` stays alive meanwhile. The
  // event loop stays alive too.
  template <class Before>
  Napi::Value after(Napi::Env env, Queue& queue, Napi::Value keep, Before before) {
    std::unique_ptr<Pending> pending(new Pending);
    Napi::Value promise = open(env, *pending);
    if (!keep.IsUndefined()) pending->keep = Napi::Reference<Napi::Value>::New(keep, 1);
    queue.push([this, before, pending = std::move(pending)]() mutable {
      try {
        before();
      } catch (...) {
        pending->failure = std::current_exception();
      }
      post(std::move(pending));
    });
    hold(env);  // in time: what is posted is received by this thread
    return promise;
  }

  // One that is settled already.
  Napi::Value settled(Napi::Env env, std::exception_ptr failure);

  // After the queue has stopped: gives the thread-safe function back.
  void close();

 private:
  struct Pending {
    napi_deferred deferred = nullptr;
    Napi::Reference<Napi::Value> keep;
    std::exception_ptr failure;
  };

  Napi::Value open(Napi::Env env, Pending& pending);
  void hold(Napi::Env env);
  void post(std::unique_ptr<Pending> pending);
  static void receive(napi_env env, napi_value, void* context, void* data);
  static void settle(napi_env env, Pending& pending);

  napi_threadsafe_function function_ = nullptr;
  int64_t waiting_ = 0;
};

}  // namespace fw
