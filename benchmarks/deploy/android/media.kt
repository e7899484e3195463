package android.media

object AudioFormat {
    const val CHANNEL_IN_MONO = 16
    const val ENCODING_PCM_16BIT = 2
}

object MediaRecorder { object AudioSource { const val MIC = 1 } }

class AudioRecord(source: Int, rate: Int, channels: Int, format: Int, bytes: Int) {
    fun startRecording(): Unit = TODO()
    fun read(to: ByteArray, offset: Int, size: Int): Int = TODO()
    fun stop(): Unit = TODO()
    fun release(): Unit = TODO()

    companion object { fun getMinBufferSize(rate: Int, channels: Int, format: Int): Int = TODO() }
}
