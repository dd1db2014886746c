// The blocks of BridgeTower's body, registered in the order of the forward pass, so that gradients become ready from the
// end of the flat buffer to its beginning. Shared modules stand where they are first used.
#include "models/bridgetower_body.hpp"

namespace viaduct {
namespace {

const std::string kPrefix = "bridgetower.";

nn::Linear linear(ParameterStore& store, const std::string& name, int64_t in, int64_t out, float stddev) {
  return nn::Linear(store, kPrefix + name, in, out, {true, stddev});
}

}  // namespace

BridgeTowerBody::BridgeTowerBody(PassBlocks& blocks, const BridgeTowerConfig& c,
                                 const ops::Normalization& normalization, const BodyOptions& o)
    : config_(c),
      train_text_(!o.freeze_text && o.readers.all()),
      train_vision_(!o.freeze_vision && o.readers.all()),
      train_cross_(!o.freeze_cross && o.readers.all()),
      text_(blocks, c.text, {o.readers.all(), o.freeze_text, o.recompute, 0}),
      vision_(blocks, c, normalization, {o.readers.all(), o.freeze_vision, o.recompute, 0}),
      text_cross_(o.recompute),
      image_cross_(o.recompute) {
  for (int64_t i = 0; i < c.split(); ++i) text_.add_layer(blocks);
  for (int64_t i = 0; i < c.split(); ++i) vision_.add_block(blocks);
  vision_.add_post(blocks);
  add_shared(blocks, o);
  for (int64_t level = 0; level < c.num_hidden_layers; ++level) {
    if (level > 0) text_.add_layer(blocks), vision_.add_block(blocks);
    add_level(blocks, level, o);
  }
  for (int64_t i = c.text.num_hidden_layers; i < c.vision.num_hidden_layers; ++i) vision_.add_block(blocks);
  add_text_pooler(blocks);
}

void BridgeTowerBody::add_shared(PassBlocks& blocks, const BodyOptions& o) {
  const Passes all = o.readers.all();
  const float stddev = float(BridgeTowerConfig::kStddev * config_.initializer_factor);
  const int64_t H = config_.hidden_size;
  ParameterStore& store = blocks.store();
  types_range_ = blocks.add(kPrefix + "token_type_embeddings", all, o.freeze_cross, [&] {
    types_ = &store.add(kPrefix + "token_type_embeddings.weight", {2, H}, {.init = Init::normal(stddev)});
  });
  transforms_range_ = blocks.add(kPrefix + "cross_modal_transforms", all, o.freeze_cross, [&] {
    text_transform_.emplace(TowerTransform{linear(store, "cross_modal_text_transform", H, H, stddev), *types_, 0});
    image_transform_.emplace(TowerTransform{
        linear(store, "cross_modal_image_transform", config_.vision.hidden_size, H, stddev), *types_, 1});
  });
}

void BridgeTowerBody::add_level(PassBlocks& blocks, int64_t level, const BodyOptions& o) {
  ParameterStore& store = blocks.store();
  const Passes all = o.readers.all();
  std::string name = level == 0 ? "cross_modal_layernorms" : fmt::format("cross_modal_link_towers.{}", level - 1);
  link_ranges_.push_back(blocks.add(kPrefix + name, all, o.freeze_cross, [&] {
    if (level == 0) {
      text_links_.push_back(Link::at_first_level(store, kPrefix + "cross_modal_text_layernorm", config_));
      image_links_.push_back(Link::at_first_level(store, kPrefix + "cross_modal_image_layernorm", config_));
    } else {
      std::string of_text = fmt::format("{}cross_modal_text_link_tower.{}", kPrefix, level - 1);
      std::string of_image = fmt::format("{}cross_modal_image_link_tower.{}", kPrefix, level - 1);
      text_links_.push_back(Link::above(store, of_text, config_));
      image_links_.push_back(Link::above(store, of_image, config_));
    }
  }));
  auto add_cross = [&](LayerStack<nn::CrossLayer>& stack, const char* modality, Passes reached_by, uint32_t place) {
    std::string layer = fmt::format("{}cross_modal_{}_layers.{}", kPrefix, modality, level);
    uint32_t first_op = text_.dropouts() + nn::CrossLayer::kDropouts * place;
    stack.add(blocks, layer, reached_by, o.freeze_cross, layer + ".",
              post_norm_options(config_.text, config_.initializer_factor, first_op));
  };
  // A pass that reads only the text has no use for the last image layer.
  add_cross(image_cross_, "image", is_last(size_t(level)) ? o.readers.first : all, 2 * uint32_t(level));
  add_cross(text_cross_, "text", all, 2 * uint32_t(level) + 1);
}

// Part of every checkpoint, read by nothing.
void BridgeTowerBody::add_text_pooler(PassBlocks& blocks) {
  const std::string name = "text_model.pooler.dense";
  const int64_t H = config_.text.hidden_size;
  blocks.add(kPrefix + "text_model.pooler", 0, true, [&] {
    linear(blocks.store(), name, H, H, float(BridgeTowerConfig::kStddev * config_.text.initializer_factor));
  });
}

}  // namespace viaduct
