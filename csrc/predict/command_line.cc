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
file, *.rec. Bad images are reported and the rest goes on; the exit status is then 1.

  --stdin         more names on standard input, one a line; answered while they come
  --batch N       how many images go through the network at once (default: 16)
  --threads N     how many threads decode and compute (default: the processors)
  --topk K        how many classes (default: 5)
  --logits        print the network's outputs instead, in the order of the classes
  --json          print an object a line
  --help          show this

For a model without MODEL_PREFIX-model.json:

  --size N        side of the centre crop, in pixels
  --resize N      shorter side before the crop (default: as it is)
  --classes FILE  names, one per line (default: numbers)

example:
  predict pets picture.jpg --topk 2
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

}  // namespace

CommandLine parse_command_line(int argc, char** argv) {
  constexpr int kMaxBatch = 1 << 16;
  constexpr int kMaxThreads = 1 << 10;
  enum { kBatch = 1, kThreads, kTopk, kStdin, kLogits, kJson, kHelp, kSize, kResize, kClasses };
  const option kOptions[] = {{"batch", required_argument, nullptr, kBatch},
                             {"threads", required_argument, nullptr, kThreads},
                             {"topk", required_argument, nullptr, kTopk},
                             {"stdin", no_argument, nullptr, kStdin},
                             {"logits", no_argument, nullptr, kLogits},
                             {"json", no_argument, nullptr, kJson},
                             {"help", no_argument, nullptr, kHelp},
                             {"size", required_argument, nullptr, kSize},
                             {"resize", required_argument, nullptr, kResize},
                             {"classes", required_argument, nullptr, kClasses},
                             {nullptr, 0, nullptr, 0}};
  CommandLine line;
  ModelCard card;
  card.size = 0;
  std::string classes;
  for (int which; (which = ::getopt_long(argc, argv, ":", kOptions, nullptr)) != -1;) {
    switch (which) {
      case kBatch:
        line.batch_size = parse_number("batch", optarg, kMaxBatch);
        break;
      case kThreads:
        line.threads = parse_number("threads", optarg, kMaxThreads);
        break;
      case kTopk:
        line.topk = parse_number("topk", optarg, 1 << 30);
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
      case kSize:
        card.size = parse_number("size", optarg, kMaxSide);
        break;
      case kResize:
        card.resize = parse_number("resize", optarg, kMaxSide);
        break;
      case kClasses:
        classes = optarg;
        break;
      default:
        fail_usage(
            concat(which == ':' ? "a value is missing behind " : "there is no option ",
                   optopt >= ' ' ? std::string{'-', static_cast<char>(optopt)} : argv[optind - 1]));
    }
  }
  if (optind == argc) fail_usage("expected the prefix of a model");
  line.prefix = argv[optind];
  line.images.assign(argv + optind + 1, argv + argc);
  if (line.images.empty() && !line.standard_input) fail_usage("expected images");
  if (card.size == 0 && (card.resize != 0 || !classes.empty())) {
    fail_usage("--resize and --classes are for a model without card: give --size, too");
  }
  if (card.resize != 0 && card.resize < card.size) {
    fail_usage(concat("--resize: expected at least --size (", card.size, "), found ", card.resize));
  }
  if (card.size != 0) {
    if (!classes.empty()) card.classes = read_classes(classes);
    line.card = card;
  }
  return line;
}

}  // namespace gluon_resnet
