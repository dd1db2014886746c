// Activations by the names of Hugging Face's configurations.
#pragma once
#include <string>

#include "core/base/check.hpp"
#include "core/ops/elementwise.hpp"

namespace viaduct {

// `field` is for the message when no activation has that name.
inline ops::Activation activation_named(const char* field, const std::string& name) {
  if (name == "gelu") return ops::Activation::gelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return ops::Activation::gelu_tanh;
  if (name == "quick_gelu") return ops::Activation::quick_gelu;
  if (name == "relu") return ops::Activation::relu;
  fail_config(
      fmt::format("model.{}: expected gelu, gelu_new, gelu_pytorch_tanh, quick_gelu or relu, found '{}'", field, name));
}

}  // namespace viaduct
