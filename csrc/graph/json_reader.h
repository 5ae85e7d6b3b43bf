// JSON, read strictly and once, from front to back: the caller asks for what has to come next.
//
// No tree is built, so memory and time are proportional to the text, and depth is limited by the
// caller's own code. The extension has no JSON library, so building it from source does not need
// one.
#ifndef GLUON_RESNET_JSON_READER_H_
#define GLUON_RESNET_JSON_READER_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

namespace gluon_resnet {

// Every function throws Error(kModel), which names the byte: "this is not JSON: ..." or, if
// another value was expected, "expected ..., found ...".
class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : text_(text) {}

  // An object; each(key) must read the value. A repeated key is refused, because readers differ in
  // which of the two counts. `what` says, in an error, what was expected.
  template <typename Each>
  void object(const char* what, Each each) {
    expect('{', what);
    std::set<std::string> keys;
    for (bool more = !closes('}'); more; more = goes_on('}')) {
      const size_t start = offset_;
      const std::string key = string("a key");
      if (!keys.insert(key).second) refuse_second(key, start);
      skip_space();
      require(':');
      each(key);
    }
  }

  // An array; each(index) must read a value.
  template <typename Each>
  void array(const char* what, Each each) {
    expect('[', what);
    size_t index = 0;
    for (bool more = !closes(']'); more; more = goes_on(']')) each(index++);
  }

  std::string string(const char* what);  // in UTF-8
  int64_t integer(const char* what);     // with at most 18 digits
  void skip();                           // any value, with at most 64 levels
  void end();                            // only white space may follow
  char peek();                           // the first byte of the next value; '\0' at the end

  // Throws "expected WHAT, found ...", naming the value found here.
  [[noreturn]] void refuse(const char* what);

  size_t offset() const { return offset_; }

 private:
  [[noreturn]] void fail(const std::string& message, size_t offset) const;
  [[noreturn]] void refuse_second(const std::string& key, size_t offset) const;
  void expect(char first, const char* what);
  void require(char letter);
  bool closes(char letter);
  bool goes_on(char letter);
  void skip_space();
  void skip(int depth);
  std::string_view number();
  uint32_t hexadecimal();
  void escape(std::string* value);

  std::string_view text_;
  size_t offset_ = 0;
};

// `text`, which is UTF-8, as a quoted JSON string.
std::string json_quoted(std::string_view text);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_JSON_READER_H_
