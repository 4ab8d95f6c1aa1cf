#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// Little stories from a grammar with memory: facts about people are drawn once and are needed, and
// changed, later in the same passage. Every choice is uniform, so that a passage that took choices
// among n_1, n_2, ... has probability 1 / (n_1 n_2 ...). No two series of choices give the same
// text and no passage begins another (tested), so this is the probability of the *text*, and the
// exact cross-entropy of the best possible model is known.
namespace muonlab {

/// Words of one class, each in the same forms.
struct WordClass {
  enum class Memory {
    none,      ///< a new draw at every mention
    shared,    ///< a fact about a person; two people may have the same
    distinct,  ///< a fact about a person that no other person of the passage shares
  };
  Memory memory = Memory::none;
  std::string forms;               ///< slot names, separated by '|': "name|he|his"
  std::vector<std::string> words;  ///< each in these forms: "Mara|she|her"
};

/// A part of a passage: between `min` and `max` sentences, each from one of the templates.
///
/// A template is text with slots in braces. The focus is the person whom a sentence is about.
///   {form}            of a class without memory: any word; otherwise the focus's word (recall)
///   {new}             introduces a person, who becomes the focus
///   {+form}           draws a fact about the new person
///   {?form}           picks any person, who becomes the focus, and names the person by this form
///   {?other.form}     picks one of the others as partner; later {other.form} recalls
///   {>form}           the focus's fact changes to another word of its class
///   {swap:form}       focus and partner exchange this fact; writes nothing
///   {take:form}       the focus's fact becomes the partner's; writes nothing
/// A form that starts with a capital ({He}) is written with one.
struct Beat {
  std::size_t min = 1, max = 1;
  std::vector<std::string> templates;
};

struct Grammar {
  std::vector<WordClass> classes;
  std::vector<Beat> beats;
};

/// The grammar of the corpus `builtin`: two people, what they are, own, eat and where they live;
/// some events that change it; questions whose answers follow from it.
Grammar english_grammar();

/// Writes the passages of a grammar.
class Storyteller {
 public:
  /// Throws: ConfigError naming the template that breaks a rule above.
  explicit Storyteller(const Grammar& grammar);

  /// Appends passage number `index` of a seed to `text`: a pure function of (seed, index).
  /// Returns -log p of the passage in nats.
  double tell(std::uint64_t seed, std::uint64_t index, std::string& text) const;

  /// Exact expectations over all passages.
  struct Mean {
    double nats = 0, characters = 0;
  };
  Mean mean() const;

 private:
  enum class Action { literal, free, recall, introduce, draw, pick, redraw, swap, take };
  struct Piece {
    Action action = Action::literal;
    bool other = false;  // the partner's fact, or the choice of the partner
    bool capital = false;
    std::size_t word_class = 0, form = 0;
    std::string text;  // literal only
  };
  struct Class {
    WordClass::Memory memory;
    std::vector<std::string> forms;
    std::vector<std::vector<std::string>> words;  // [word][form]
  };
  struct Part {
    std::size_t min, max;
    std::size_t people;  // known before the part begins
    bool introduces;     // every sentence introduces one person
    std::vector<std::vector<Piece>> templates;
  };
  struct Scene;

  Piece parse_slot(std::string slot) const;
  std::vector<Piece> parse(const std::string& text) const;
  bool is_distinct(const Piece& piece) const;
  bool check(const std::vector<Piece>& pieces, std::size_t people) const;
  std::size_t options(const Piece& piece, std::size_t people) const;
  void fill(const Piece& piece, std::size_t people, Scene& scene, std::string& text) const;

  std::vector<Class> classes_;
  std::vector<Part> parts_;
};

}  // namespace muonlab
