package app.edgeopt.@@IDENT@@

import android.Manifest
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.ImageDecoder
import android.graphics.Matrix
import android.graphics.Paint
import android.media.AudioFormat
import android.media.AudioRecord
import android.media.MediaRecorder
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.provider.MediaStore
import android.view.View
import android.widget.Button
import android.widget.EditText
import android.widget.ImageView
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts
import androidx.camera.core.ImageCapture
import androidx.camera.core.ImageCaptureException
import androidx.camera.core.ImageProxy
import androidx.camera.view.LifecycleCameraController
import androidx.camera.view.PreviewView
import androidx.core.content.ContextCompat
import java.io.ByteArrayOutputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.concurrent.Executors
import kotlin.concurrent.thread
import org.json.JSONObject

/** A picture, a sentence or a sound goes in; the answer and its latency come out. */
class MainActivity : ComponentActivity() {
    private val worker = Executors.newSingleThreadExecutor()
    private val result by lazy { findViewById<TextView>(R.id.result) }
    private val picture by lazy { findViewById<ImageView>(R.id.picture) }
    private lateinit var model: Model
    @Volatile private var recording = false

    private val pick = registerForActivityResult(ActivityResultContracts.PickVisualMedia()) { uri -> uri?.let { show(bitmap(it)) } }
    private val camera by lazy { LifecycleCameraController(this) }
    private val preview by lazy { findViewById<PreviewView>(R.id.preview) }
    private val lens = registerForActivityResult(ActivityResultContracts.RequestPermission()) { if (it) look() }
    private val microphone = registerForActivityResult(ActivityResultContracts.RequestPermission()) { if (it) record() }

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        setContentView(R.layout.main)
        work { model = Model(applicationContext); "ready" }
        findViewById<Button>(R.id.check).setOnClickListener { work { model.golden() } }
        when (KIND) {
            "image" -> {
                button(R.id.main, R.string.choose) { pick.launch(PickVisualMediaRequest(ActivityResultContracts.PickVisualMedia.ImageOnly)) }
                button(R.id.other, R.string.camera) { if (preview.visibility == View.VISIBLE) photograph() else lens.launch(Manifest.permission.CAMERA) }
            }
            "text" -> {
                val fields = (if (PAIR) listOf(R.id.first, R.id.second) else listOf(R.id.first)).map { findViewById<EditText>(it) }
                fields.forEach { it.visibility = View.VISIBLE }
                button(R.id.main, R.string.answer) {
                    val texts = fields.map { it.text.toString() }.toTypedArray()
                    work { inWords(model.text(*texts)) }
                }
            }
            "audio" -> button(R.id.main, R.string.record) { if (recording) recording = false else microphone.launch(Manifest.permission.RECORD_AUDIO) }
        }
    }

    private fun button(id: Int, text: Int, action: () -> Unit) = findViewById<Button>(id).run {
        setText(text)
        visibility = View.VISIBLE
        setOnClickListener { action() }
    }

    /** Run `job` behind the page and show what it returns, with its time. */
    private fun work(job: () -> String) = worker.execute {
        val start = System.nanoTime()
        val said = try { job() } catch (error: Exception) { error.message ?: error.toString() }
        val milliseconds = (System.nanoTime() - start) / 1e6
        runOnUiThread { result.text = "%s\n%.1f ms".format(said, milliseconds) }
    }

    private fun bitmap(uri: Uri): Bitmap = if (Build.VERSION.SDK_INT >= 28) {
        ImageDecoder.decodeBitmap(ImageDecoder.createSource(contentResolver, uri)) { decoder, _, _ -> decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE }
    } else {
        @Suppress("DEPRECATION")
        MediaStore.Images.Media.getBitmap(contentResolver, uri)
    }

    /** Show what the camera sees; the button takes a picture of it then. */
    private fun look() {
        camera.bindToLifecycle(this)
        preview.controller = camera
        preview.visibility = View.VISIBLE
        picture.visibility = View.GONE
        findViewById<Button>(R.id.other).setText(R.string.photograph)
    }

    private fun photograph() = camera.takePicture(ContextCompat.getMainExecutor(this), object : ImageCapture.OnImageCapturedCallback() {
        override fun onCaptureSuccess(image: ImageProxy) {
            val turned = Matrix().apply { postRotate(image.imageInfo.rotationDegrees.toFloat()) }
            val taken = image.use { it.toBitmap() }
            show(Bitmap.createBitmap(taken, 0, 0, taken.width, taken.height, turned, true))
        }

        override fun onError(error: ImageCaptureException) {
            result.text = error.message
        }
    })

    private fun show(given: Bitmap) {
        if (preview.visibility == View.VISIBLE) {
            camera.unbind()
            preview.visibility = View.GONE
            findViewById<Button>(R.id.other).setText(R.string.camera)
        }
        val image = given.copy(Bitmap.Config.ARGB_8888, true)
        picture.setImageBitmap(image)
        picture.visibility = View.VISIBLE
        work {
            val answer = model.image(image)
            if (answer.getString("kind") == "boxes") runOnUiThread { picture.setImageBitmap(drawn(image, answer)) }
            inWords(answer)
        }
    }

    private fun drawn(image: Bitmap, answer: JSONObject): Bitmap {
        val canvas = Canvas(image)
        val pen = Paint().apply { style = Paint.Style.STROKE; strokeWidth = image.width / 200f; color = Color.RED; textSize = image.width / 30f }
        val boxes = answer.getJSONArray("boxes")
        for (k in 0 until boxes.length()) {
            val entry = boxes.getJSONObject(k)
            val edges = entry.getJSONArray("box").let { box -> FloatArray(4) { box.getDouble(it).toFloat() } }
            pen.style = Paint.Style.STROKE
            canvas.drawRect(edges[0], edges[1], edges[2], edges[3], pen)
            pen.style = Paint.Style.FILL
            canvas.drawText(entry.getString("label"), edges[0], maxOf(edges[1] - 4, pen.textSize), pen)
        }
        return image
    }

    private fun record() {
        recording = true
        findViewById<Button>(R.id.main).setText(R.string.stop)
        thread {
            val least = AudioRecord.getMinBufferSize(RATE, AudioFormat.CHANNEL_IN_MONO, AudioFormat.ENCODING_PCM_16BIT)
            @Suppress("MissingPermission")
            val source = AudioRecord(MediaRecorder.AudioSource.MIC, RATE, AudioFormat.CHANNEL_IN_MONO, AudioFormat.ENCODING_PCM_16BIT, least * 4)
            val sound = ByteArrayOutputStream()
            val part = ByteArray(least)
            source.startRecording()
            while (recording && sound.size() < 60 * 2 * RATE) source.read(part, 0, part.size).let { if (it > 0) sound.write(part, 0, it) }
            source.stop()
            source.release()
            recording = false
            runOnUiThread { findViewById<Button>(R.id.main).setText(R.string.record) }
            work { inWords(model.wav(wav(sound.toByteArray()))) }
        }
    }

    private fun wav(samples: ByteArray): ByteArray = ByteBuffer.allocate(44 + samples.size).order(ByteOrder.LITTLE_ENDIAN).run {
        put("RIFF".toByteArray()).putInt(36 + samples.size).put("WAVEfmt ".toByteArray()).putInt(16).putShort(1).putShort(1)
        putInt(RATE).putInt(2 * RATE).putShort(2).putShort(16).put("data".toByteArray()).putInt(samples.size).put(samples)
        array()
    }

    private fun inWords(answer: JSONObject): String {
        fun each(key: String, line: (JSONObject) -> String) = answer.getJSONArray(key).let { list -> (0 until list.length()).joinToString("\n") { line(list.getJSONObject(it)) } }
        return when (answer.getString("kind")) {
            "classes", "labels" -> each("classes") { "%s %.1f %%".format(it.getString("label"), 100 * it.getDouble("score")) }
            "boxes" -> each("boxes") { "%s %.1f %%".format(it.getString("label"), 100 * it.getDouble("score")) }
            "spans" -> each("spans") { "${it.getString("label")}: ${it.getString("text")}" }
            "text", "answer" -> answer.getString("text")
            else -> answer.toString().take(2000)
        }
    }

    private companion object {
        const val KIND = "@@KIND@@"
        const val PAIR = @@PAIR@@
        const val RATE = @@RATE@@
    }
}
