#include "predict/command_line.h"

#include <getopt.h>

#include <charconv>
#include <cstring>

#include "base/error.h"
#include "predictor/card.h"

namespace gluon_resnet {

const char* const kUsage =
    R"(usage: predict [options] MODEL_PREFIX IMAGE...

Prints the most probable classes of each image. The model is MODEL_PREFIX-symbol.json and
MODEL_PREFIX-0000.params; class names and preprocessing are read from MODEL_PREFIX-model.json.

IMAGE is a JPEG or PNG file, a folder that is searched for *.jpg, *.jpeg and *.png, or a record
file, *.rec. Bad images are reported and the rest continues; the exit status is then 1.

  --stdin              more names on standard input, one per line, answered as they come
  --batch-size N       number of images that go through the network at once (default: 16)
  --threads N          number of threads that decode and compute (default: the processors)
  --top-k K            number of classes (default: 5)
  --logits             print the network's outputs instead, in the order of the classes
  --json               print an object for each image, one per line
  --help               show this

For a model without MODEL_PREFIX-model.json:

  --image-shape 3,N,N  shape of the center crop
  --resize N           shorter side before the crop, in pixels (default: not resized)
  --class-names FILE   file of class names, one per line (default: numbers)

example:
  predict pets picture.jpg --top-k 2
)";

namespace {

[[noreturn]] void fail_usage(const std::string& message) {
  throw Error(ErrorKind::kUsage, message + " (see --help)");
}

int parse_number(const char* name, const char* text, int most) {
  int value = 0;
  const char* const end = text + std::strlen(text);
  const auto result = std::from_chars(text, end, value);
  if (result.ec != std::errc() || result.ptr != end || value < 1 || value > most) {
    fail_usage(concat("--", name, ": expected a number from 1 to ", most, ", found '", text, "'"));
  }
  return value;
}

// The side of a square crop, written as the shape 3,N,N (or N, as earlier versions had it).
int parse_image_shape(const std::string& text) {
  const size_t comma = text.rfind(',');
  const std::string side = comma == std::string::npos ? text : text.substr(comma + 1);
  if (comma != std::string::npos && text != concat("3,", side, ",", side)) {
    fail_usage(
        concat("--image-shape: expected 3,N,N, found '", text, "': crops are square and RGB"));
  }
  return parse_number("image-shape", side.c_str(), kMaxSide);
}

}  // namespace

CommandLine parse_command_line(int argc, char** argv) {
  constexpr int kMaxBatch = 1 << 16;
  constexpr int kMaxThreads = 1 << 10;
  enum { kBatch = 1, kThreads, kTopK, kStdin, kLogits, kJson, kHelp, kShape, kResize, kClasses };
  const option kOptions[] = {{"batch-size", required_argument, nullptr, kBatch},
                             {"threads", required_argument, nullptr, kThreads},
                             {"top-k", required_argument, nullptr, kTopK},
                             {"stdin", no_argument, nullptr, kStdin},
                             {"logits", no_argument, nullptr, kLogits},
                             {"json", no_argument, nullptr, kJson},
                             {"help", no_argument, nullptr, kHelp},
                             {"image-shape", required_argument, nullptr, kShape},
                             {"resize", required_argument, nullptr, kResize},
                             {"class-names", required_argument, nullptr, kClasses},
                             // Of earlier versions, and not in the help:
                             {"batch", required_argument, nullptr, kBatch},
                             {"topk", required_argument, nullptr, kTopK},
                             {"size", required_argument, nullptr, kShape},
                             {"classes", required_argument, nullptr, kClasses},
                             {nullptr, 0, nullptr, 0}};
  CommandLine line;
  ModelCard card;
  card.size = 0;
  std::string classes;
  for (int which; (which = ::getopt_long(argc, argv, ":", kOptions, nullptr)) != -1;) {
    switch (which) {
      case kBatch:
        line.batch_size = parse_number("batch-size", optarg, kMaxBatch);
        break;
      case kThreads:
        line.threads = parse_number("threads", optarg, kMaxThreads);
        break;
      case kTopK:
        line.top_k = parse_number("top-k", optarg, 1 << 30);
        break;
      case kStdin:
        line.standard_input = true;
        break;
      case kLogits:
        line.logits = true;
        break;
      case kJson:
        line.json = true;
        break;
      case kHelp:
        line.help = true;
        return line;
      case kShape:
        card.size = parse_image_shape(optarg);
        break;
      case kResize:
        card.resize = parse_number("resize", optarg, kMaxSide);
        break;
      case kClasses:
        classes = optarg;
        break;
      default:
        fail_usage(
            concat(which == ':' ? "a value is missing after " : "there is no option ",
                   optopt >= ' ' ? std::string{'-', static_cast<char>(optopt)} : argv[optind - 1]));
    }
  }
  if (optind == argc) fail_usage("expected the prefix of a model");
  line.prefix = argv[optind];
  line.images.assign(argv + optind + 1, argv + argc);
  if (line.images.empty() && !line.standard_input) fail_usage("expected images");
  if (card.size == 0 && (card.resize != 0 || !classes.empty())) {
    fail_usage(concat("--", card.resize != 0 ? "resize" : "class-names",
                      " is for a model without PREFIX-model.json: give --image-shape as well"));
  }
  if (card.resize != 0 && card.resize < card.size) {
    fail_usage(concat("--resize: expected at least the side of --image-shape (", card.size,
                      "), found ", card.resize));
  }
  if (card.size != 0) {
    if (!classes.empty()) card.classes = read_classes(classes);
    line.card = card;
  }
  return line;
}

}  // namespace gluon_resnet
