// The way back from the dispatcher to the event loop: one thread-safe function per environment.
#include "promises.h"

#include "errors.h"

namespace fw {

Promises::Promises(Napi::Env env) {
  const napi_value name = Napi::String::New(env, "fast-weights");
  if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, receive,
                                      &function_) != napi_ok) {
    throw Napi::Error::New(env);
  }
  napi_unref_threadsafe_function(env, function_);
}

void Promises::close() { napi_release_threadsafe_function(function_, napi_tsfn_abort); }

Napi::Value Promises::open(Napi::Env env, Pending& pending) {
  napi_value promise;
  if (napi_create_promise(env, &pending.deferred, &promise) != napi_ok) throw Napi::Error::New(env);
  return Napi::Value(env, promise);
}

Napi::Value Promises::settled(Napi::Env env, std::exception_ptr failure) {
  Pending pending;
  pending.failure = failure;
  Napi::Value promise = open(env, pending);
  settle(env, pending);
  return promise;
}

void Promises::hold(Napi::Env env) {
  if (waiting_++ == 0) napi_ref_threadsafe_function(env, function_);
}

void Promises::post(std::unique_ptr<Pending> pending) {
  if (napi_call_threadsafe_function(function_, pending.get(), napi_tsfn_nonblocking) == napi_ok) pending.release();
}

void Promises::receive(napi_env env, napi_value, void* context, void* data) {
  std::unique_ptr<Pending> pending(static_cast<Pending*>(data));
  if (env == nullptr) {  // the environment ends, and its references with it
    pending->keep.SuppressDestruct();
    return;
  }
  settle(env, *pending);
  Promises* const self = static_cast<Promises*>(context);
  if (--self->waiting_ == 0) napi_unref_threadsafe_function(env, self->function_);
}

// The plain C interface with its statuses ignored: while a worker is being terminated these calls fail, and a C++
// exception here would end the process.
void Promises::settle(napi_env env, Pending& pending) {
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value value = nullptr;
  if (pending.failure) {
    value = error_value(env, pending.failure);
    napi_reject_deferred(env, pending.deferred, value);
  } else {
    napi_get_undefined(env, &value);
    napi_resolve_deferred(env, pending.deferred, value);
  }
  napi_close_handle_scope(env, scope);
}

}  // namespace fw
