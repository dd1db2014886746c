// What a run may be told. Every section lists its fields once; that list parses, checks, prints the help and writes the
// effective config back. Command line beats file beats default.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "models/model_config.hpp"
#include "train/loop_sections.hpp"

namespace viaduct {

struct ModelSection {
  std::string arch = "vit";
  std::string pretrained;
  std::map<std::string, std::string> overrides;  // fields of the model's config.json, as text
  template <class V>
  void fields(V&& v) {
    v("arch", arch, rule::choice({"vit", "bridgetower"}), "architecture");
    v("pretrained", pretrained, rule::text(),
      "folder with config.json and model.safetensors, or a run folder; empty: random weights");
  }
};

struct TaskSection {
  std::string name = "classification";
  std::string negatives = "local", itm_negatives = "random", freeze;
  std::string teacher, losses = "label:0.5, soft:0.5";
  double temperature = 5;
  std::string layers = "auto", cache, cache_precision = "exact";
  bool distillation_token = false;
  int64_t every_layer = 0, first_heads = 0, cache_top_k = 0;
  template <class V>
  void fields(V&& v) {
    v("name", name, rule::text(),
      "what is learnt: classification; or of images with texts itm (matching), itc (contrastive), mlm (masked "
      "language modelling), or a weighted sum such as itm:1, mlm:1, itc:0.5; or distillation of task.teacher");
    v("negatives", negatives, rule::choice({"local", "global"}),
      "itc: the other pairs of this rank's batch (as Hugging Face), or of all ranks");
    v("itm_negatives", itm_negatives, rule::choice({"random", "hard"}),
      "itm: any other image's text, or the most similar one of the batch (with itc in the sum)");
    v("freeze", freeze, rule::text(), "towers that keep their weights: any of text, vision, cross");
    v("teacher", teacher, rule::text(),
      "distillation: folder of the model, or run folder, that the student learns from; it stays as it is");
    v("losses", losses, rule::text(),
      "distillation: a weighted sum of label (cross entropy), soft (temperature^2 KL, Hinton), deit_soft (that over "
      "the "
      "classes), deit_hard (the teacher's answer as label), mse (of the logits), feature (of what layers give)");
    v("temperature", temperature, rule::above(0), "distillation: of soft and deit_soft; DeiT has 1");
    v("layers", layers, rule::text(),
      "distillation: what feature compares, layer of the student:layer of the teacher, such as 2:4, 4:8; auto: layer l "
      "of n with ceil(l m / n) of m");
    v("distillation_token", distillation_token, rule::text(),
      "distillation: the student gets a second token and head, which learn what the teacher says (DeiT)");
    v("every_layer", every_layer, rule::at_least_or(1, {{"none", 0}}, rule::kSome),
      "distillation: the student is cut out of the teacher, with every k-th of its layers");
    v("first_heads", first_heads, rule::at_least_or(1, {{"all", 0}}, rule::kSome),
      "distillation: the student is cut out of the teacher, with so many heads, and channels in proportion");
    v("cache", cache, rule::text(),
      "distillation: folder that keeps the teacher's answers, for later epochs, runs and other ranks");
    v("cache_top_k", cache_top_k, rule::at_least_or(1, {{"all", 0}}, rule::kMany),
      "distillation: logits kept of an answer, the largest; the others share the rest of the probability");
    v("cache_precision", cache_precision, rule::choice({"exact", "bf16"}),
      "distillation: of the logits kept; exact: as train.precision computes them");
  }
};

struct DataSection {
  std::string train, eval;
  int64_t image_size = 0;
  std::string image_pipeline = "hf";
  int64_t workers = -1;
  std::string augment = "auto";
  bool shuffle = true;
  int64_t max_quarantined = -1;
  std::string tokenizer, padding = "longest";
  int64_t max_text_length = 0;
  template <class V>
  void fields(V&& v) {
    v("train", train, rule::text(),
      "training images: a folder per class, or one with labels.csv (file, label, split); with texts: a .jsonl file, or "
      "a "
      "folder with captions.jsonl, metadata.jsonl or pairs.jsonl");
    v("eval", eval, rule::text(), "held-out images: as above, or a fraction of data.train such as 0.1");
    v("image_size", image_size, rule::at_least_or(1, {{"model", 0}}, rule::kSome), "side in pixels");
    v("image_pipeline", image_pipeline, rule::choice({"hf", "torchvision"}), "whose resize and rounding to reproduce");
    v("workers", workers, rule::at_least_or(0, {{"auto", -1}}, rule::kSome),
      "decoding threads of a rank; 0: in the training thread");
    v("augment", augment, rule::choice({"auto", "default", "none"}),
      "default: random-resized-crop and flip, in training only; auto: that, but none for images with texts, which may "
      "speak of places");
    v("shuffle", shuffle, rule::text(),
      "a new order every epoch; false: byte order of the paths, or the order of the file");
    v("max_quarantined", max_quarantined, rule::at_least_or(0, {{"auto", -1}}),
      "unreadable images that a rank replaces before it stops; auto: 1 %, at least 10");
    v("tokenizer", tokenizer, rule::text(),
      "folder with vocab.json and merges.txt, or tokenizer.json; empty: model.pretrained");
    v("max_text_length", max_text_length, rule::at_least_or(3, {{"model", 0}}, rule::kMany),
      "tokens of a text with <s> and </s>; what is longer is cut");
    v("padding", padding, rule::choice({"longest", "max_length"}),
      "texts of a batch to the longest among all ranks, or to data.max_text_length");
  }
};

struct TrainSection {
  double epochs = 3;
  int64_t steps = 0, samples = 0, batch_size = 8, accumulate = 1;
  double max_seconds = 0;
  std::string precision = "fp32";
  double lr = 5e-5, warmup = 0, layer_decay = 1;
  std::string lr_scaling = "none", schedule = "linear";
  double weight_decay = 0, clip_norm = 1.0, adam_beta1 = 0.9, adam_beta2 = 0.999, adam_epsilon = 1e-8;
  int64_t seed = 42, eval_every = 0;
  bool recompute = false;
  std::string nonfinite = "stop";
  template <class V>
  void fields(V&& v) {
    v("epochs", epochs, rule::above(0, rule::kMany), "passes over the data; may be a fraction");
    v("steps", steps, rule::at_least_or(1, {{"epochs", 0}}, rule::kMany),
      "optimizer steps; a number beats train.samples and train.epochs");
    v("samples", samples, rule::at_least_or(1, {{"epochs", 0}}, 1e15),
      "samples seen by all ranks, rounded up to whole steps; a number beats train.epochs");
    v("max_seconds", max_seconds, rule::at_least(0),
      "wall-clock time of all parts of a run after which it ends, evaluated and saved; 0: no limit");
    v("batch_size", batch_size, rule::at_least_or(1, {{"auto", 0}}, 1e6),
      "samples of a rank in one pass; auto: as many as the memory plan fits into what is free");
    v("accumulate", accumulate, rule::between(1, 1e6), "passes of a step");
    v("precision", precision, rule::choice({"fp32", "bf16"}), "of activations and the compute copy of the weights");
    v("lr", lr, rule::at_least(0), "learning rate");
    v("lr_scaling", lr_scaling, rule::choice({"none", "linear", "sqrt"}),
      "the learning rate is multiplied by the number of ranks, or by its root");
    v("layer_decay", layer_decay, rule::part_of_one(),
      "the learning rate of every layer is that of the one above times this");
    v("warmup", warmup, rule::between(0, rule::kMany), "steps; below 1 a fraction of all steps");
    v("schedule", schedule, rule::choice({"linear", "cosine", "constant"}), "of the learning rate after the warm-up");
    v("weight_decay", weight_decay, rule::at_least(0), "spares biases and layer norms");
    v("clip_norm", clip_norm, rule::at_least(0), "largest global gradient norm; 0: no clipping");
    v("adam_beta1", adam_beta1, rule::between(0, 1), "AdamW, first moment");
    v("adam_beta2", adam_beta2, rule::between(0, 1), "AdamW, second moment");
    v("adam_epsilon", adam_epsilon, rule::above(0), "AdamW, added to the root");
    v("seed", seed, rule::at_least(0), "of order, augmentation, dropout and new weights");
    v("eval_every", eval_every, rule::at_least_or(1, {{"epoch", 0}, {"never", -1}}), "steps between evaluations");
    v("recompute", recompute, rule::text(), "recompute activations in backward: less memory, a third more time");
    v("nonfinite", nonfinite, rule::choice({"stop", "skip"}),
      "when a loss or the gradient is not finite: the run stops, or leaves out the step; either names the samples");
  }
};

struct ParallelSection {
  std::string strategy = "ddp";
  double bucket_mb = 25;
  std::string wire = "fp32", reduction = "fast";
  int64_t micro_batch = 1;
  double timeout_seconds = 60;
  int64_t parity_every = 0;
  template <class V>
  void fields(V&& v) {
    v("strategy", strategy, rule::choice({"ddp", "fast_ddp", "zero1", "zero2"}),
      "how ranks share the work of a step; ddp: gradients are summed in buckets while backward goes on; fast_ddp: all "
      "at once after it; zero1: as ddp, and each rank keeps a part of the optimizer's state; zero2: and of the "
      "gradients");
    v("bucket_mb", bucket_mb, rule::above(0), "MB of gradients in one all-reduce");
    v("wire", wire, rule::choice({"fp32", "bf16"}),
      "type of gradients on the wire; bf16: half the bytes, sums are formed in fp32 and rounded once");
    v("reduction", reduction, rule::choice({"fast", "invariant"}),
      "fast: sums in the order of the ranks on one host, in MPI's across hosts; invariant: in fixed point, the same "
      "bits "
      "for any number of ranks and any strategy");
    v("micro_batch", micro_batch, rule::between(1, 1e6),
      "invariant: samples of a pass; divides train.batch_size times train.accumulate");
    v("timeout_seconds", timeout_seconds, rule::above(0),
      "a rank waits for data, or for a rank that does not move, before the run counts as stalled; ten times as long at "
      "the "
      "start and while a checkpoint is written");
    v("parity_every", parity_every, rule::at_least_or(1, {{"never", 0}}),
      "steps between comparisons of the parameters that the ranks hold");
  }
};

struct FaultSection {
  std::string kind = "none", phase = "step";
  int64_t rank = 0, step = 0;
  template <class V>
  void fields(V&& v) {
    v("kind", kind,
      rule::choice({"none", "throw", "kill", "stop", "hang", "slow", "nan", "bitflip", "mismatched_plan"}),
      "a fault on purpose, for drills; stop: the process is stopped (SIGSTOP); slow: 0.2 s late from that step on; "
      "nan, "
      "bitflip: in the parameters; mismatched_plan: other collectives");
    v("phase", phase, rule::choice({"init", "step", "save", "eval"}), "when");
    v("rank", rank, rule::at_least(0), "the rank that has it");
    v("step", step, rule::at_least(0), "at this step, counted from 0, or the first after it");
  }
};

struct RunSection {
  std::string output;
  int64_t log_every = 10, checkpoint_every = 0, keep_last = 2, keep_best = 1;
  std::string best = "none", best_mode = "auto", resume = "none";
  bool tensorboard = false;
  template <class V>
  void fields(V&& v) {
    v("output", output, rule::text(), "run folder: config.cfg, metrics.jsonl, checkpoints/, model/, verdict.json");
    v("log_every", log_every, rule::at_least(1),
      "steps between lines of metrics.jsonl (the HF Trainer's 500 says too little)");
    v("checkpoint_every", checkpoint_every, rule::at_least_or(1, {{"epoch", 0}, {"never", -1}}),
      "steps between checkpoints");
    v("keep_last", keep_last, rule::at_least_or(1, {{"all", 0}}, rule::kMany), "newest checkpoints kept");
    v("keep_best", keep_best, rule::between(1, rule::kSome),
      "best checkpoints kept beside them, by run.best: of those that are saved with an evaluation");
    v("best", best, monitored_metric(),
      "metric by which best/ is kept beside model/; accuracy is of classification, itm and mlm, recall of itc");
    v("best_mode", best_mode, rule::choice({"auto", "min", "max"}),
      "which values are better; auto: min of a loss, else max");
    v("resume", resume, rule::text(),
      "none, auto (the newest whole checkpoint in run.output, if any), or a checkpoint folder");
    v("tensorboard", tensorboard, rule::text(),
      "event files for TensorBoard beside metrics.jsonl, with what that says and a few of the held-out pictures");
  }
};

struct PredictSection {
  std::string input, output = "predictions.jsonl", embeddings, page;
  int64_t top_k = 5;
  bool logits = false;
  template <class V>
  void fields(V&& v) {
    v("input", input, rule::text(), "folder of images, or captions or pairs file; empty: data.eval");
    v("output", output, rule::text(), "JSONL file, one object per image or pair, in the order of the input");
    v("embeddings", embeddings, rule::text(),
      "itc: safetensors file for text_embeds and image_embeds, a row per pair, zeros where it could not be read");
    v("page", page, rule::text(), "itm: HTML page with the first pictures, their texts and scores; also as a table");
    v("top_k", top_k, rule::between(1, rule::kMany), "labels per image");
    v("logits", logits, rule::text(), "write every raw logit too");
  }
};

struct PlanSection {
  double memory_gb = 0;
  std::string ranks = "1", measured, links;
  int64_t ranks_per_host = 0, cores = 0;
  double network_microseconds = 0, network_gb_per_second = 0;
  template <class V>
  void fields(V&& v) {
    v("memory_gb", memory_gb, rule::between(0, rule::kMany),
      "of a rank (10^9 bytes), for the largest batch; 0: this host's");
    v("ranks", ranks, rule::text(), "for which the plan is made: N, or N,N,.. with plan.measured, which forecasts all");
    v("measured", measured, rule::text(),
      "run folders, separated by commas: the first, of one rank, says how long a step takes; forecasts are compared "
      "with all");
    v("links", links, rule::text(), "what viaduct bench comm wrote into bench.json on a host of the cluster");
    v("ranks_per_host", ranks_per_host, rule::at_least_or(1, {{"all", 0}}, rule::kSome), "of the cluster");
    v("cores", cores, rule::at_least_or(1, {{"host", 0}}, rule::kSome), "of a host of the cluster; host: this one's");
    v("network_microseconds", network_microseconds, rule::between(0, rule::kMany), "from host to host, a message");
    v("network_gb_per_second", network_gb_per_second, rule::at_least(0), "of a host, to the others (10^9 bytes)");
  }
};

struct ReportSection {
  std::string output = "auto";
  template <class V>
  void fields(V&& v) {
    v("output", output, rule::text(),
      "HTML page; auto: RUN/report.html of one run, report.html here of several; empty: none");
  }
};

struct ScenesSection {
  int64_t count = 4000, size = 64, seed = 0;
  template <class V>
  void fields(V&& v) {
    v("count", count, rule::between(120, rule::kMany), "pictures in all; of each class every tenth is for evaluation");
    v("size", size, rule::between(16, rule::kSome), "side in pixels");
    v("seed", seed, rule::at_least(0), "other pictures");
  }
};

struct BenchSection {
  int64_t steps = 10, warmup = 2;
  std::string json;
  template <class V>
  void fields(V&& v) {
    v("steps", steps, rule::between(1, rule::kMany), "measured steps");
    v("warmup", warmup, rule::between(0, rule::kMany), "steps before the measured ones");
    v("json", json, rule::text(), "file for what the table says, one JSON object a row, SI units");
  }
};

struct DeviceSection {
  std::string kind = "auto";
  bool graph = true;
  int64_t threads = 0;
  template <class V>
  void fields(V&& v) {
    v("kind", kind, rule::choice({"auto", "cpu", "cuda"}),
      "where to compute; auto: a GPU where there is one and [parallel] allows it");
    v("graph", graph, rule::text(), "cuda: replay a whole step as one CUDA graph from its third time on");
    v("threads", threads, rule::at_least_or(1, {{"auto", 0}}, rule::kSome),
      "of a rank; auto: the allowed cores shared by the host's ranks");
  }
};

struct Config {
  ModelSection model;
  TaskSection task;
  DataSection data;
  TrainSection train;
  ParallelSection parallel;
  FaultSection fault;
  RunSection run;
  PredictSection predict;
  PlanSection plan;
  ReportSection report;
  ScenesSection scenes;
  BenchSection bench;
  DeviceSection device;
  StopSection stop;
  AugmentSection augment;
  AverageSection average;
  std::map<std::string, std::string> origins;  // "train.lr" -> "vit.cfg:12" or "command line"; absent: default

  template <class V>
  void sections(V&& v) {
    v("model", model), v("task", task), v("data", data), v("train", train), v("parallel", parallel), v("fault", fault);
    v("run", run), v("predict", predict), v("plan", plan), v("report", report), v("scenes", scenes), v("bench", bench),
        v("device", device);
    v("stop", stop), v("augment", augment), v("average", average);
  }

  std::string origin(const std::string& key) const;  // for messages
  std::optional<double> eval_fraction() const;       // data.eval, when it is a number
};

// Sets one value; throws a config error that names key, value, origin and what was expected. Unknown keys are errors.
void set(Config&, const std::string& key, const std::string& value, const std::string& origin);
void read_config_file(Config&, const std::string& path);
// Rules between fields; the commands check that what they need is given.
void validate(const Config&);
// The fields of config.json that [model] gives, each of which the architecture must have; the model checks that they
// fit together.
void apply_overrides(const Config&, ModelConfig&);
// Throws unless `key` was given a value: the command cannot do without it.
void require(const Config&, const std::string& key, const std::string& command);

std::string value_text(const Config&, const std::string& key);  // as a config file would say it
// Reads back as a config; of these sections, or of all.
std::string effective_config(const Config&, const std::vector<std::string>& sections = {});
std::string config_help(const std::vector<std::string>& sections);  // as command-line options
std::vector<std::string> config_keys();                             // every key, model fields included

}  // namespace viaduct
