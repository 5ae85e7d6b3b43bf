// The program `predict`: classifies images.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include "base/error.h"
#include "base/printable.h"
#include "predict/command_line.h"
#include "predict/printer.h"
#include "predict/run.h"
#include "predictor/processors.h"

namespace gluon_resnet {
namespace {

// More threads than this gain little for one batch; another predictor has its own weights.
constexpr int kThreadsEach = 4;

void print(const std::string& text) {
  const bool good = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (!good || std::fflush(stdout) != 0) throw_system_error("standard output", "cannot write");
}

void complain(const std::string& sentence) {
  std::fprintf(stderr, "%s\n", printable("predict: " + sentence).c_str());
}

// A file opened later would get the descriptor of a closed stream.
void require_open(int descriptor, const char* name) {
  if (::fcntl(descriptor, F_GETFD) == -1) throw_system_error(name, "cannot use");
}

// The most common mistake at a first try, reported in the words of tools/predict.py.
void require_model(const CommandLine& line) {
  const std::string card = line.prefix + "-model.json";
  if (line.card || ::access(card.c_str(), F_OK) == 0) return;
  throw Error(ErrorKind::kSystem,
              concat(card, ": ", std::strerror(errno),
                     ": name what tools/export.py wrote, or give --image-shape"));
}

int predict(const CommandLine& line) {
  if (line.standard_input) require_open(STDIN_FILENO, "standard input");
  require_open(STDOUT_FILENO, "standard output");
  require_model(line);
  const int threads = line.threads > 0 ? line.threads : usable_processors();
  const int predictors = (threads + kThreadsEach - 1) / kThreadsEach;
  share_processors(predictors, (threads + predictors - 1) / predictors);
  ImageSource source(line.images, line.standard_input);
  const auto make_predictor = [&line] {
    const auto batch_size = static_cast<size_t>(line.batch_size);
    return line.card ? Predictor(line.prefix, *line.card, batch_size)
                     : Predictor(line.prefix, batch_size);
  };
  PredictionRun run(&source, make_predictor, static_cast<size_t>(predictors),
                    static_cast<size_t>(threads));
  const PrintOptions options{line.json, line.logits, static_cast<size_t>(line.top_k)};
  size_t images = 0, bad = 0;
  while (const auto prediction = run.next()) {
    ++images;
    print(format_prediction(options, run.card().classes, *prediction));
    if (prediction->error.empty()) continue;
    ++bad;
    complain(concat(prediction->name, ": ", prediction->error));
  }
  if (bad == 0) return 0;
  complain(concat(bad, " of ", images, " images could not be predicted"));
  return 1;
}

int run(int argc, char** argv) {
  try {
    const CommandLine line = parse_command_line(argc, argv);
    if (!line.help) return predict(line);
    print(kUsage);
    return 0;
  } catch (const Error& error) {
    // The reader of our output has gone: there is nobody left to tell.
    if (error.system_code == EPIPE) return 1;
    complain(concat("error: ", error.what()));
    return error.kind == ErrorKind::kUsage ? 2 : 1;
  } catch (...) {  // out of memory, or out of threads
    complain("error: " + current_error().message);
    return 1;
  }
}

}  // namespace
}  // namespace gluon_resnet

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // writing to a closed pipe fails instead
  // Skips the destructors of static objects: in them, on a busy machine, MXNet's engine and its
  // threads deadlocked in 1 of 450 runs, and ended in std::terminate in 2 of 3,000.
  const int status = gluon_resnet::run(argc, argv);
#ifdef __SANITIZE_ADDRESS__
  __lsan_do_leak_check();  // which would otherwise run after main()
#endif
  std::_Exit(status);
}
