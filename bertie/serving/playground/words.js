// The words of the page and its example texts, in English and Chinese.

const WORDS = {
  en: {
    playground: "playground", models: "Models", english: "English", chinese: "中文", light: "Light", dark: "Dark",
    theme: "Colours", language: "Language", predict: "Predict", examples: "Examples",
    busy: "Thinking…", took: (ms) => `${ms} ms`, nothing: "No models are loaded.",
    failed: "The server can't be reached.",
    layers: (n) => `${n} layers`, parameters: (n) => `${n} million parameters`, vocabulary: (n) => `${n} pieces in the vocabulary`,
    en: "English", zh: "Chinese",
    footer: "Everything on this page comes from this server. Texts are sent nowhere else.",
    alone: "This page is one file. It loads nothing, and sends nothing.",
    text: "Text", pair: "Second text", optional: "optional", question: "Question", context: "Passage",
    choices: "Choices, one a line", sentences: "Sentences, one a line", start: "Beginning", source: "Text",
    fill: "Hidden words", fillHint: "Click a word to hide it. Click a guess to put it in.",
    fillEmpty: "Hide a word, and the model guesses it.", mask: (n) => `Hidden word ${n}`, hide: (word) => `Hide “${word}”`,
    reveal: "Show the word again",
    classes: "Classes", classesHint: "The model chooses one of its classes.",
    several: "A text may belong to several classes at once.",
    number: "A number", numberHint: "The model rates a text, or a pair of texts, with a number.",
    spans: "Marked words", spansHint: "The model finds words and names of certain kinds.", spansNone: "It found nothing.",
    answer: "Questions", answerHint: "The model looks for the answer in the passage.", noAnswer: "no answer",
    answerNone: "The model says that the passage has no answer.",
    choice: "Choices", choiceHint: "The model chooses how a text goes on.",
    similarity: "Alike or not", similarityHint: "The stronger the colour of a cell, the more two sentences mean the same.",
    nearest: "Most alike", fewer: "Write two sentences or more.", many: "Twelve sentences are shown at most.",
    writing: "Writing", writingHint: "The model continues or rewrites a text.", silence: "The model wrote nothing.",
    replaced: "Replaced words", replacedHint: "The model tells which words don't belong in a text.",
    none: "Vectors", noneHint: "This model gives a vector to each piece. Below is how it reads a text.",
    pieces: "What the model sees", piecesHint: "A model reads pieces from its vocabulary. The small numbers are their ids.",
    piecesCount: (n) => `${n} tokens`, cut: (n) => `${n} more are left out`, range: (start, end, id) => `characters ${start} to ${end}, id ${id}`,
    attention: "Where it looks",
    attentionHint: "In every layer, each head decides how much a token looks at each other one. Choose a head, then point at a token.",
    grid: "Heads: a row for each layer", layer: "Layer", head: "Head", at: (layer, head) => `Layer ${layer}, head ${head}`,
    before: "the token before", after: "the token after", itself: "the token itself", first: (token) => `${token} at the start`,
    other: "other tokens", mostly: "Looks most at", from: "from", to: "to",
  },
  zh: {
    playground: "体验页", models: "模型", english: "English", chinese: "中文", light: "浅色", dark: "深色",
    theme: "颜色", language: "语言", predict: "预测", examples: "示例",
    busy: "计算中…", took: (ms) => `${ms} 毫秒`, nothing: "没有加载任何模型。",
    failed: "无法连接服务器。",
    layers: (n) => `${n} 层`, parameters: (n) => `${n} 百万参数`, vocabulary: (n) => `词表 ${n} 个词片`,
    en: "英文", zh: "中文",
    footer: "本页的全部内容都来自这台服务器，文本不会发送到别处。",
    alone: "本页就是一个文件，不加载也不发送任何内容。",
    text: "文本", pair: "第二段文本", optional: "可不填", question: "问题", context: "段落",
    choices: "选项（每行一个）", sentences: "句子（每行一个）", start: "开头", source: "文本",
    fill: "被遮住的词", fillHint: "点击一个词把它遮住；点击一个猜测把它填入。",
    fillEmpty: "遮住一个词，模型就会猜它。", mask: (n) => `第 ${n} 个遮住的词`, hide: (word) => `遮住“${word}”`,
    reveal: "恢复原词",
    classes: "类别", classesHint: "模型从它的类别中选一个。",
    several: "一段文本可以同时属于多个类别。",
    number: "数值", numberHint: "模型给一段或一对文本打分。",
    spans: "标出的词", spansHint: "模型找出特定种类的词和名称。", spansNone: "什么也没找到。",
    answer: "问答", answerHint: "模型在段落中寻找答案。", noAnswer: "无答案",
    answerNone: "模型认为段落中没有答案。",
    choice: "选择", choiceHint: "模型选择文本的后续。",
    similarity: "像不像", similarityHint: "颜色越深，两个句子的意思越接近。",
    nearest: "最相近", fewer: "请至少写两个句子。", many: "最多显示十二个句子。",
    writing: "写作", writingHint: "模型续写或改写文本。", silence: "模型什么也没写。",
    replaced: "被替换的词", replacedHint: "模型判断哪些词不属于这段文本。",
    none: "向量", noneHint: "这个模型给每个词片一个向量。下面是它读文本的方式。",
    pieces: "模型看到的内容", piecesHint: "模型读的是词表中的词片，小数字是词片的编号。",
    piecesCount: (n) => `${n} 个词元`, cut: (n) => `另有 ${n} 个未显示`, range: (start, end, id) => `字符 ${start} 至 ${end}，编号 ${id}`,
    attention: "模型在看哪里",
    attentionHint: "在每一层，每个注意力头决定一个词元对其他词元看多少。先选一个头，再指向一个词元。",
    grid: "注意力头：每行一层", layer: "层", head: "头", at: (layer, head) => `第 ${layer} 层第 ${head} 头`,
    before: "前一个词元", after: "后一个词元", itself: "词元自身", first: (token) => `开头的 ${token}`,
    other: "其他词元", mostly: "最常看", from: "从", to: "到",
  },
};

// Names of tasks; the name of a task that is not here is shown as it is.
const TASKS = {
  en: {
    masked_lm: "masked words", pretraining: "masked words", hybrid: "masked words", passages: "masked words",
    sentence_order: "masked words", classification: "classification", next_sentence: "next sentence",
    regression: "regression", tagging: "tagging", span_classification: "spans", question_answering: "question answering",
    multiple_choice: "multiple choice", embedding: "sentence vectors", generation: "generation", causal_lm: "text generation",
    replaced_token: "replaced words", features: "vectors of tokens",
  },
  zh: {
    masked_lm: "填词", pretraining: "填词", hybrid: "填词", passages: "填词", sentence_order: "填词",
    classification: "文本分类", next_sentence: "下一句判断", regression: "打分", tagging: "序列标注",
    span_classification: "片段标注", question_answering: "抽取式问答", multiple_choice: "多项选择", embedding: "句向量",
    generation: "文本生成", causal_lm: "文本续写", replaced_token: "替换检测", features: "词元向量",
  },
};

// ⟨word⟩ is a hidden word.
export const EXAMPLES = {
  en: {
    fill: [
      { text: "The president of the United ⟨States⟩ met the prime ⟨minister⟩ of Japan." },
      { text: "Shares fell after the company said its profits were ⟨lower⟩ than expected." },
      { text: "She opened the door and ⟨walked⟩ into the room." },
    ],
    classes: [
      { text: "A warm, funny and wonderfully acted film." },
      { text: "The plot makes no sense, and the jokes are worse." },
      { text: "Not as good as the book, but I would watch it again." },
    ],
    pairs: [
      { text: "A man is playing a guitar on the stage.", pair: "Someone is making music." },
      { text: "The museum is closed on Mondays.", pair: "You can visit the museum every day." },
    ],
    spans: [
      { text: "Angela Merkel met Emmanuel Macron in Paris on Friday, a spokesman for Siemens said." },
      { text: "The University of Oxford beat Cambridge in the Boat Race on the River Thames." },
    ],
    answer: [
      {
        question: "Who built the tower?",
        context: "The Eiffel Tower in Paris was built by the company of Gustave Eiffel between 1887 and 1889 for the "
          + "World's Fair. It is 330 metres tall and was the tallest building in the world until 1930, when the "
          + "Chrysler Building in New York was finished.",
      },
      {
        question: "How long does the journey take?",
        context: "The night train leaves Vienna at nine in the evening. It reaches Venice after eleven hours, at eight "
          + "in the morning, with a stop of forty minutes in Villach.",
      },
    ],
    choice: [
      { text: "The man poured water on the fire.", choices: "The fire went out.\nThe fire grew larger.\nThe man fell asleep." },
      { text: "It began to rain, so she", choices: "opened her umbrella.\nate her umbrella.\nsold the rain." },
    ],
    similarity: [
      {
        sentences: "How do I reset my password?\nI forgot the password of my account.\nWhere can I change my e-mail address?\n"
          + "The weather is lovely today.\nIt is sunny outside.",
      },
    ],
    writing: [{ text: "The government said on Monday that" }, { text: "Once upon a time there was" }],
    replaced: [{ text: "The chef cooked a delicious bicycle for his guests." }],
    none: [{ text: "The quick brown fox jumps over the lazy dog." }],
  },
  zh: {
    fill: [
      { text: "北京是中国的⟨首⟩都，也是全国的政治中⟨心⟩。" },
      { text: "今天天气很⟨好⟩，我们去公园散步。" },
      { text: "国家主席会见了法国总⟨统⟩。" },
    ],
    classes: [
      { text: "这部电影非常好看，演员的表演也很出色。" },
      { text: "房间又小又吵，服务态度也很差。" },
    ],
    pairs: [
      { text: "一个男人正在台上弹吉他。", pair: "有人在演奏音乐。" },
      { text: "博物馆星期一不开放。", pair: "每天都可以参观博物馆。" },
    ],
    spans: [
      { text: "周恩来总理在北京会见了法国总统蓬皮杜。" },
      { text: "清华大学的李教授昨天从上海飞往纽约。" },
    ],
    answer: [
      {
        question: "长城有多长？",
        context: "长城是中国古代的军事防御工程，位于中国北部。明长城的总长度为八千八百五十一点八公里，1987年被列入世界文化遗产。",
      },
    ],
    choice: [{ text: "天下起了大雨，所以她", choices: "打开了雨伞。\n吃掉了雨伞。\n晒起了被子。" }],
    similarity: [
      { sentences: "怎么修改我的密码？\n我忘记了账号密码。\n在哪里更改邮箱地址？\n今天天气真好。\n外面阳光明媚。" },
    ],
    writing: [{ text: "新华社北京一月一日电" }],
    replaced: [{ text: "厨师为客人做了一辆美味的自行车。" }],
    none: [{ text: "北京的猫吃了三条鱼。" }],
  },
};

let language = "en";

export function setLanguage(name) {
  language = name;
  document.documentElement.lang = name === "zh" ? "zh-Hans" : "en";
}

export function currentLanguage() {
  return language;
}

export function say(name, ...values) {
  const word = WORDS[language][name];
  return typeof word === "function" ? word(...values) : word;
}

export function taskName(task) {
  return TASKS[language][task] ?? task;
}
