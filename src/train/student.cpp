#include "train/student.hpp"

#include "core/base/check.hpp"
#include "train/distillation_choice.hpp"
#include "train/weighted_list.hpp"

namespace viaduct {
namespace {

// The shape of a student that is cut out of the teacher.
VitConfig cut(const Config& config, VitConfig c) {
  const int64_t every = std::max<int64_t>(1, config.task.every_layer), heads = config.task.first_heads;
  if (c.num_hidden_layers % every)
    refuse_value(config, "task.every_layer", std::to_string(every),
                 fmt::format("does not divide the {} layers of the teacher", c.num_hidden_layers));
  c.num_hidden_layers /= every;
  if (heads == 0) return c;
  if (heads > c.num_attention_heads || c.intermediate_size * heads % c.num_attention_heads)
    refuse_value(config, "task.first_heads", std::to_string(heads),
                 fmt::format("expected at most the {} heads of the teacher, and a whole part of its {} hidden units",
                             c.num_attention_heads, c.intermediate_size));
  c.hidden_size = c.hidden_size / c.num_attention_heads * heads;
  c.intermediate_size = c.intermediate_size * heads / c.num_attention_heads;
  c.num_attention_heads = heads;
  return c;
}

bool is_cut(const Config& config) { return config.task.every_layer > 0 || config.task.first_heads > 0; }

void check_cut(const Config& config, const ModelSource& student) {
  VitConfig expected = cut(config, vit(student.teacher->config)), found = vit(student.config);
  std::map<std::string, std::string> sizes;
  expected.fields([&](const char* name, auto& value) { sizes[name] = fmt::format("{}", value); });
  found.fields([&](const std::string& name, auto& value) {
    const bool shape = name.ends_with("_size") || name.starts_with("num_") || name == "qkv_bias";
    if (shape && sizes[name] != fmt::format("{}", value))
      refuse_value(config, "model." + name, fmt::format("{}", value),
                   fmt::format("the student is cut out of the teacher, where it is {}", sizes[name]));
  });
}

}  // namespace

ModelConfig student_config(const Config& config, ModelSource& student) {
  VitConfig c = vit(student.teacher->config);
  if (!is_cut(config)) {
    c.distillation_token = config.task.distillation_token;
    return c;
  }
  if (config.task.distillation_token && !c.distillation_token)
    refuse_value(config, "task.distillation_token", "true", "the student is cut out of a teacher that has none");
  student.folder = student.teacher->folder;
  student.every_layer = std::max<int64_t>(1, config.task.every_layer);
  return cut(config, c);
}

void check_student(const Config& config, const ModelSource& student) {
  const ModelSource& teacher = *student.teacher;
  auto refuse = [&](const std::string& why) {
    fail_config(fmt::format("task.teacher = {} ({}): {}", config.task.teacher, config.origin("task.teacher"), why));
  };
  if (is_cut(config) && !student.every_layer)
    refuse_value(config, "model.pretrained", config.model.pretrained,
                 "task.every_layer and task.first_heads cut the student out of the teacher; give one or the other");
  if (image_size(teacher.config) != image_size(student.config))
    refuse(fmt::format("the teacher takes images of {0} x {0} pixels and the student of {1} x {1}; set data.image_size",
                       image_size(teacher.config), image_size(student.config)));
  const auto &theirs = vit(teacher.config).labels, &ours = vit(student.config).labels;
  if (theirs.size() != ours.size())
    refuse(fmt::format("the teacher knows {} classes and the data have {}", theirs.size(), ours.size()));
  for (size_t i = 0; i < ours.size(); ++i)
    if (theirs[i] != ours[i] && theirs[i] != fmt::format("LABEL_{}", i))
      refuse(fmt::format("class {} is '{}' to the teacher and '{}' in the data; train it on the same classes", i,
                         theirs[i], ours[i]));
  const VitConfig &big = vit(teacher.config), &small = vit(student.config);
  if (config.task.distillation_token && !small.distillation_token)
    refuse_value(config, "task.distillation_token", "true",
                 "a student from a folder has one only if it is a DeiT; leave model.pretrained away");
  const DistillationChoice choice = choose_distillation(config);
  if (choice.feature > 0 && big.tokens() != small.tokens())
    refuse_value(
        config, "task.losses", config.task.losses,
        fmt::format("feature compares tokens, and the teacher has {} of them, the student {}: both need the same "
                    "patch_size and distillation token",
                    big.tokens(), small.tokens()));
  if (choice.feature > 0) layer_pairs(config, small.num_hidden_layers, big.num_hidden_layers);
  if (student.every_layer) check_cut(config, student);
}

}  // namespace viaduct
