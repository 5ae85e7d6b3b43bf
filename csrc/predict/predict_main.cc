// The command line of the predictor: names what is in images.
#include <getopt.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "base/read_file.h"
#include "predict/predictor.h"

namespace gluon_resnet {
namespace {

constexpr const char* kUsage =
    R"(usage: predict [options] PREFIX-symbol.json PREFIX-0000.params IMAGE...

Prints the most probable classes of each JPEG or PNG image. Class names and preprocessing are read
from PREFIX-model.json. Bad images are reported and the rest goes on; the exit status is then 1.

  --topk K        how many classes (default: 5)
  --logits        print the network's outputs instead, in the order of the classes
  --help          show this

For a model without PREFIX-model.json:

  --size N        side of the centre crop, in pixels
  --resize N      shorter side before the crop (default: as it is)
  --classes FILE  names, one per line (default: numbers)
)";

struct Options {
  bool help = false;
  bool logits = false;
  int topk = 5;
  int size = 0;  // 0: as the model card says
  int resize = 0;
  std::string classes;
  std::string symbol;
  std::string params;
  std::vector<std::string> images;
};

[[noreturn]] void fail_usage(const std::string& message) {
  throw Error(ErrorKind::kUsage, message + "; predict --help shows how");
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

Options parse(int argc, char** argv) {
  enum { kTopk = 1, kLogits, kHelp, kSize, kResize, kClasses };
  const option kOptions[] = {{"topk", required_argument, nullptr, kTopk},
                             {"logits", no_argument, nullptr, kLogits},
                             {"help", no_argument, nullptr, kHelp},
                             {"size", required_argument, nullptr, kSize},
                             {"resize", required_argument, nullptr, kResize},
                             {"classes", required_argument, nullptr, kClasses},
                             {nullptr, 0, nullptr, 0}};
  Options options;
  for (int which; (which = ::getopt_long(argc, argv, ":", kOptions, nullptr)) != -1;) {
    switch (which) {
      case kTopk:
        options.topk = parse_number("topk", optarg, 1 << 30);
        break;
      case kLogits:
        options.logits = true;
        break;
      case kHelp:
        options.help = true;
        return options;
      case kSize:
        options.size = parse_number("size", optarg, kMaxSide);
        break;
      case kResize:
        options.resize = parse_number("resize", optarg, kMaxSide);
        break;
      case kClasses:
        options.classes = optarg;
        break;
      default:
        fail_usage(
            concat(which == ':' ? "a value is missing behind " : "there is no option ",
                   optopt >= ' ' ? std::string{'-', static_cast<char>(optopt)} : argv[optind - 1]));
    }
  }
  if (argc - optind < 3) fail_usage("expected a symbol file, a params file and images");
  options.symbol = argv[optind];
  options.params = argv[optind + 1];
  options.images.assign(argv + optind + 2, argv + argc);
  if (options.size == 0 && (options.resize != 0 || !options.classes.empty())) {
    fail_usage("--resize and --classes are for a model without card: give --size, too");
  }
  if (options.resize != 0 && options.resize < options.size) {
    fail_usage(
        concat("--resize: expected at least --size (", options.size, "), found ", options.resize));
  }
  return options;
}

PredictCard find_card(const Options& options) {
  if (options.size != 0) {
    PredictCard card;
    card.transform.size = options.size;
    card.transform.resize = options.resize;
    if (!options.classes.empty()) card.classes = read_classes(options.classes);
    return card;
  }
  const std::string ending = "-symbol.json";
  const std::string& symbol = options.symbol;
  if (symbol.size() < ending.size() ||
      symbol.compare(symbol.size() - ending.size(), ending.size(), ending) != 0) {
    fail_usage(concat(symbol, " does not end in ", ending,
                      ", so that no model card stands beside it: give --size"));
  }
  return read_card(symbol.substr(0, symbol.size() - ending.size()) + "-model.json");
}

void print(const Options& options, const std::vector<std::string>& classes,
           const std::vector<float>& logits) {
  if (options.logits) {
    for (const float value : logits) std::printf("  %.9g", static_cast<double>(value));
    std::printf("\n");
    return;
  }
  for (const auto& [label, probability] : most_probable(logits, options.topk)) {
    std::printf("%7.2f %%  %s\n", 100 * probability, classes[label].c_str());
  }
}

int predict(const Options& options) {
  Predictor predictor(options.symbol, options.params, find_card(options));
  int status = 0;
  for (const std::string& path : options.images) {
    std::vector<float> input;
    try {
      input = predictor.preprocess(read_file(path));
    } catch (const Error& error) {
      const std::string where = error.path.empty() ? path + ": " : "";
      std::fprintf(stderr, "predict: %s%s\n", where.c_str(), error.what());
      status = 1;
      continue;
    }
    std::printf("%s\n", path.c_str());
    print(options, predictor.classes(), predictor.logits(input));
    if (std::fflush(stdout) != 0) throw_system_error("standard output", "cannot write");
  }
  return status;
}

int run(int argc, char** argv) {
  try {
    const Options options = parse(argc, argv);
    if (!options.help) return predict(options);
    std::fputs(kUsage, stdout);
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "predict: error: %s\n", error.what());
    return error.kind == ErrorKind::kUsage ? 2 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "predict: error: %s\n", error.what());
    return 1;
  }
}

}  // namespace
}  // namespace gluon_resnet

int main(int argc, char** argv) {
  int status = gluon_resnet::run(argc, argv);
  if (std::fflush(stdout) != 0 && status == 0) status = 1;
  // No destructors of static objects: on a busy machine MXNet's engine and its threads waited for
  // each other there for ever in 1 of 450 runs, and ended in std::terminate in 2 of 3,000.
  std::_Exit(status);
}
